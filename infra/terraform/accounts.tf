# Every grant below adds one member and does not change the grants of others. Use a project of its
# own for Foldline: whoever may start Vertex AI jobs may start one as Vertex AI's default agent,
# which reads every bucket of the project.
locals {
  accounts = {
    build  = "Builds images, uploads compiled pipelines"
    run    = "Runs the steps of a pipeline"
    submit = "Starts pipelines, submits to the leaderboard"
  }

  bucket_grants = {
    # Reads its input, and cannot change it.
    run_data = { account = "run", bucket = "data", role = "roles/storage.objectViewer" }
    # Writes artifacts and replaces checkpoints; objectUser is objectAdmin without access control
    # lists.
    run_runs = { account = "run", bucket = "runs", role = "roles/storage.objectUser" }
    # Checks that the sources exist before it starts a run on them.
    submit_data = { account = "submit", bucket = "data", role = "roles/storage.objectViewer" }
    # Downloads the results of a run.
    submit_runs = { account = "submit", bucket = "runs", role = "roles/storage.objectViewer" }
    # Checks that the bucket exists, and reads its region.
    submit_looks = { account = "submit", bucket = "runs", role = "roles/storage.bucketViewer" }
    # A build unpacks the sources that were sent to it.
    build_build = { account = "build", bucket = "build", role = "roles/storage.objectViewer" }
  }

  # The run account needs none: Vertex AI pulls images as its own agent, a cluster as its nodes'
  # account.
  registry_grants = {
    # Pushes images.
    build_docker = { account = "build", repository = "docker", role = "roles/artifactregistry.writer" }
    # Uploads compiled pipelines.
    build_kfp = { account = "build", repository = "kfp", role = "roles/artifactregistry.writer" }
    # Workflows read the digest of an image that a build has pushed
    # (gcloud artifacts docker images describe).
    submit_docker = { account = "submit", repository = "docker", role = "roles/artifactregistry.reader" }
  }

  # Roles that no resource smaller than the project accepts.
  project_grants = {
    # Records artifacts and executions in Vertex ML Metadata.
    run_vertex = { account = "run", role = "roles/aiplatform.user" }
    run_log    = { account = "run", role = "roles/logging.logWriter" }
    # Creates pipeline jobs and follows them.
    submit_vertex = { account = "submit", role = "roles/aiplatform.user" }
    # Shows the log of a step that failed.
    submit_log = { account = "submit", role = "roles/logging.viewer" }
    # A build that runs as our own account must write its own log (`logging: CLOUD_LOGGING_ONLY`).
    build_log = { account = "build", role = "roles/logging.logWriter" }
  }
}

resource "google_service_account" "this" {
  for_each = local.accounts

  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name} ${each.key}"
  description  = each.value

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = local.bucket_grants

  bucket = google_storage_bucket.this[each.value.bucket].name
  role   = each.value.role
  member = google_service_account.this[each.value.account].member
}

# For `records.publish` in a competition file: the run account may write to this folder of the data
# bucket only.
resource "google_storage_bucket_iam_member" "publish" {
  count = var.publish_prefix == null ? 0 : 1

  bucket = google_storage_bucket.this["data"].name
  role   = "roles/storage.objectUser"
  member = google_service_account.this["run"].member

  condition {
    title      = "published-records"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.this["data"].name}/objects/${var.publish_prefix}/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "this" {
  for_each = local.registry_grants

  location   = google_artifact_registry_repository.this[each.value.repository].location
  repository = google_artifact_registry_repository.this[each.value.repository].name
  role       = each.value.role
  member     = google_service_account.this[each.value.account].member
}

resource "google_project_iam_member" "this" {
  for_each = local.project_grants

  project = var.project
  role    = each.value.role
  member  = google_service_account.this[each.value.account].member
}

# Only those who may act as an account may start a job that runs as it. Granted on this account
# alone, so submit can act as no other.
resource "google_service_account_iam_member" "submit_acts_as_run" {
  service_account_id = google_service_account.this["run"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.this["submit"].member
}

# A step on a TPU or a GPU is a custom job, which a step that runs as the run account starts as the
# same account.
resource "google_service_account_iam_member" "run_acts_as_itself" {
  service_account_id = google_service_account.this["run"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.this["run"].member
}

# The rest is for builds that the build account itself starts (`gcloud builds submit` in GitHub
# Actions).
resource "google_project_iam_member" "starts_builds" {
  #checkov:skip=CKV_GCP_49: no narrower role creates builds; off by default, and the variable's description states the risk
  for_each = toset(var.ci_starts_builds ? [
    "roles/cloudbuild.builds.editor",          # creates the build
    "roles/serviceusage.serviceUsageConsumer", # gcloud counts its calls against the project
  ] : [])

  project = var.project
  role    = each.key
  member  = google_service_account.this["build"].member
}

resource "google_storage_bucket_iam_member" "sends_sources" {
  for_each = toset(var.ci_starts_builds ? [
    "roles/storage.objectUser",         # uploads the sources
    "roles/storage.legacyBucketReader", # gcloud checks that the bucket exists
  ] : [])

  bucket = google_storage_bucket.this["build"].name
  role   = each.key
  member = google_service_account.this["build"].member
}

resource "google_service_account_iam_member" "build_acts_as_itself" {
  count = var.ci_starts_builds ? 1 : 0

  service_account_id = google_service_account.this["build"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.this["build"].member
}
