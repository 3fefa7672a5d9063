# The value is added by hand, so that neither a file nor the state ever holds it:
#   gcloud secrets versions add foldline-leaderboard --data-file=-
resource "google_secret_manager_secret" "leaderboard" {
  secret_id           = "${var.name}-leaderboard"
  version_destroy_ttl = "86400s" # a day to take a destroyed token back

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

# A binding, not a member: it removes whoever else was given this role here. Steps run as another account, so training code
# and its dependencies never come near the token.
resource "google_secret_manager_secret_iam_binding" "leaderboard" {
  secret_id = google_secret_manager_secret.leaderboard.id
  role      = "roles/secretmanager.secretAccessor"
  members   = [google_service_account.this["submit"].member]
}
