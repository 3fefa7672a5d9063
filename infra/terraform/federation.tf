# GitHub Actions exchanges its token for a short-lived Google token, so there is no key to leak. The
# name of a deleted pool stays reserved for 30 days: undelete the pool, or change `name`.
resource "google_iam_workload_identity_pool" "github" {
  count = var.github_repository == null ? 0 : 1

  workload_identity_pool_id = "${var.name}-github"
  display_name              = "${var.name} GitHub Actions"

  depends_on = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125: the check accepts only conditions on assertion.sub; this one names repository, ref and event
  count = var.github_repository == null ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "actions"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  # GitHub signs tokens for all repositories; without a condition, any of them would be accepted.
  # pull_request_target has the base branch's ref while it handles a stranger's code. The id
  # protects against somebody who takes over the repository's name.
  attribute_condition = join(" && ", compact([
    "assertion.repository == '${var.github_repository}'",
    var.github_repository_id == null ? "" : "assertion.repository_id == '${var.github_repository_id}'",
    "assertion.ref in ${jsonencode(var.github_refs)}",
    "assertion.event_name != 'pull_request_target'",
  ]))

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

# Not the run account: Vertex AI starts what runs as it, never a workflow directly.
resource "google_service_account_iam_member" "github" {
  for_each = toset(var.github_repository == null ? [] : ["build", "submit"])

  service_account_id = google_service_account.this[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.repository/${var.github_repository}"
}
