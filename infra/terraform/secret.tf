# Add the value by hand, so that neither a file nor the state ever contains it:
#   gcloud secrets versions add foldline-leaderboard --data-file=-
resource "google_secret_manager_secret" "leaderboard" {
  secret_id           = "${var.name}-leaderboard"
  version_destroy_ttl = "86400s" # a day to restore a destroyed token

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

# A binding, not a member: it revokes this role from everybody else. Steps run as another account,
# so training code and its dependencies never have access to the token.
resource "google_secret_manager_secret_iam_binding" "leaderboard" {
  secret_id = google_secret_manager_secret.leaderboard.id
  role      = "roles/secretmanager.secretAccessor"
  members   = [google_service_account.this["submit"].member]
}
