output "project" {
  description = "foldline submit --project"
  value       = var.project
}

output "region" {
  description = "foldline submit --region"
  value       = var.region
}

output "data_bucket" {
  description = "For data.root in a competition file: images and records"
  value       = "gs://${google_storage_bucket.this["data"].name}"
}

output "bucket" {
  description = "foldline submit --bucket; one folder per run"
  value       = local.pipeline_root
}

output "service_account" {
  description = "foldline submit --service-account: the account that the steps run as"
  value       = google_service_account.this["run"].email
}

output "submit_account" {
  description = "Account that starts pipelines and reads the leaderboard's token"
  value       = google_service_account.this["submit"].email
}

output "build_account" {
  description = "Account that pushes images and compiled pipelines"
  value       = google_service_account.this["build"].email
}

output "build_source" {
  description = "gcloud builds submit --gcs-source-staging-dir"
  value       = "gs://${google_storage_bucket.this["build"].name}/source"
}

output "docker_repository" {
  description = "Prefix of image names"
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.this["docker"].repository_id}"
}

output "kfp_repository" {
  description = "Where cloudbuild.yaml uploads compiled pipelines; the console lists them"
  value       = "https://${var.region}-kfp.pkg.dev/${var.project}/${google_artifact_registry_repository.this["kfp"].repository_id}"
}

output "leaderboard_secret" {
  description = "Secret for the leaderboard's token; add the token by hand"
  value       = google_secret_manager_secret.leaderboard.id
}

output "workload_identity_provider" {
  description = "workload_identity_provider of google-github-actions/auth; null without github_repository"
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

output "foldline_submit" {
  description = "The command; replace FILE with the competition file, and add the images"
  value = join(" ", [
    "foldline submit FILE",
    "--project ${var.project}",
    "--region ${var.region}",
    "--bucket ${local.pipeline_root}",
    "--service-account ${google_service_account.this["run"].email}",
  ])
}
