locals {
  repositories = {
    docker = { format = "DOCKER", holds = "Images of Foldline's steps" }
    kfp    = { format = "KFP", holds = "Compiled pipelines" }
  }
}

resource "google_artifact_registry_repository" "this" {
  #checkov:skip=CKV_GCP_84: images and pipelines contain code but no data; Google's own keys encrypt them
  for_each = local.repositories

  location      = var.region
  repository_id = "${var.name}-${each.key}"
  format        = each.value.format
  description   = each.value.holds

  # A tag always names the same image. The price: tagged images are never cleaned up.
  dynamic "docker_config" {
    for_each = each.key == "docker" ? [true] : []

    content {
      immutable_tags = docker_config.value
    }
  }

  # A version that both policies match is kept.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = var.keep_versions
    }
  }

  cleanup_policies {
    id     = "delete-untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "${var.untagged_days * 86400}s"
    }
  }

  depends_on = [google_project_service.this]
}
