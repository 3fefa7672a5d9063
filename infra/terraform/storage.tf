locals {
  # Pipeline roots are below this prefix; only objects below it expire.
  runs_prefix   = "runs/"
  pipeline_root = "gs://${google_storage_bucket.this["runs"].name}/${trimsuffix(local.runs_prefix, "/")}"

  buckets = {
    # Images and records: only their owner deletes them.
    data = { expire_after = null, prefixes = null, soft_delete_days = var.soft_delete_days }
    # A run's artifacts. Vertex AI's cache does not notice deleted files: submit with --no-cache if
    # a run would reuse steps that are older than this.
    runs = { expire_after = var.run_days, prefixes = [local.runs_prefix], soft_delete_days = var.soft_delete_days }
    # Sources for Cloud Build; they are in git, so nothing is kept for long.
    build = { expire_after = 7, prefixes = null, soft_delete_days = 0 }
  }
}

# No force_destroy: `terraform destroy` stops at a bucket that is not empty.
resource "google_storage_bucket" "this" {
  #checkov:skip=CKV_GCP_62: usage logs need another bucket without logs of its own; audit logs record who read what, if switched on
  for_each = local.buckets

  name                        = "${var.project}-${var.name}-${each.key}" # bucket names are unique across Google Cloud
  location                    = var.region                               # near the machines: no egress charges
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true # an overwritten published records folder can be restored
  }

  soft_delete_policy {
    retention_duration_seconds = each.value.soft_delete_days * 86400
  }

  dynamic "lifecycle_rule" {
    for_each = each.value.expire_after == null ? [] : [each.value.expire_after]

    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = each.value.prefixes
        with_state     = "LIVE"
      }
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
  }

  # Parts of an aborted upload are billed, but shown nowhere.
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]

    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.storage]
}

# Cloud Storage encrypts with its own account, which needs access to the key before a bucket uses it.
data "google_storage_project_service_account" "this" {
  count = var.kms_key == null ? 0 : 1
}

resource "google_kms_crypto_key_iam_member" "storage" {
  count = var.kms_key == null ? 0 : 1

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this[0].member
}

# Vertex AI encrypts with an account of its own, where a file has [vertex] encryption_key. Custom jobs
# use another one, gcp-sa-aiplatform-cc, which exists after a project's first custom job: grant it the
# same role then.
resource "google_kms_crypto_key_iam_member" "vertex" {
  count = var.kms_key == null ? 0 : 1

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${data.google_project.this[0].number}@gcp-sa-aiplatform.iam.gserviceaccount.com"

  depends_on = [google_project_service.this]
}
