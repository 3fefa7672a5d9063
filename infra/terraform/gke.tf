# TPU nodes for Kubeflow on a cluster that exists. Vertex AI needs none of this. GKE itself taints the nodes google.com/tpu, so
# only pods that ask for TPUs come here.
resource "google_container_node_pool" "tpu" {
  count = var.tpu_node_pool == null ? 0 : 1

  name           = "${var.name}-tpu"
  cluster        = var.tpu_node_pool.cluster
  location       = var.tpu_node_pool.location
  node_locations = [var.tpu_node_pool.zone] # few zones have TPUs

  initial_node_count = 0

  autoscaling {
    min_node_count  = 0 # nothing is paid for while no step trains
    max_node_count  = var.tpu_node_pool.max_nodes
    location_policy = "ANY" # spot capacity where it is
  }

  # For a slice of several hosts, which GKE brings up and down as one: max_nodes is then its number of hosts. Without it each
  # node is a slice of its own.
  dynamic "placement_policy" {
    for_each = var.tpu_node_pool.topology == null ? [] : [var.tpu_node_pool.topology]

    content {
      type         = "COMPACT"
      tpu_topology = placement_policy.value
    }
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  node_config {
    machine_type    = var.tpu_node_pool.machine_type
    spot            = var.tpu_node_pool.spot # training goes on from its checkpoint when a node is taken away
    image_type      = "COS_CONTAINERD"
    service_account = google_service_account.nodes[0].email

    # Pull images, write logs and metrics. Pods have accounts of their own, which these do not bound.
    oauth_scopes = [
      "https://www.googleapis.com/auth/devstorage.read_only",
      "https://www.googleapis.com/auth/logging.write",
      "https://www.googleapis.com/auth/monitoring.write",
    ]

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA" # pods do not reach the node's account
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count] # the autoscaler's from here on
  }

  depends_on = [google_project_service.this]
}

# Without this the nodes would be the Compute Engine default account, an editor of the project in many.
resource "google_service_account" "nodes" {
  count = var.tpu_node_pool == null ? 0 : 1

  account_id   = "${var.name}-nodes"
  display_name = "${var.name} nodes"
  description  = "TPU nodes: pulls images, writes logs and metrics"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "nodes" {
  count = var.tpu_node_pool == null ? 0 : 1

  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes[0].member
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  count = var.tpu_node_pool == null ? 0 : 1

  location   = google_artifact_registry_repository.this["docker"].location
  repository = google_artifact_registry_repository.this["docker"].name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes[0].member
}

# Steps on the cluster are the run account, through the Kubernetes account that Kubeflow starts them with; annotate that one
# with iam.gke.io/gcp-service-account.
resource "google_service_account_iam_member" "pods" {
  count = var.tpu_node_pool == null ? 0 : 1

  service_account_id = google_service_account.this["run"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.tpu_node_pool.kubernetes_account}]"
}
