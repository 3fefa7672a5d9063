# TPU nodes for Kubeflow on an existing cluster, which has Kubeflow Pipelines and JobSet
# (infra/cluster/README.md). Vertex AI needs none of this. GKE itself taints the
# nodes with google.com/tpu, so only pods that request TPUs run on them.
resource "google_container_node_pool" "tpu" {
  #checkov:skip=CKV_GCP_68: whether TPU nodes start with secure boot is not documented
  count = var.tpu_node_pool == null ? 0 : 1

  name           = "${var.name}-tpu"
  cluster        = var.tpu_node_pool.cluster
  location       = var.tpu_node_pool.location
  node_locations = [var.tpu_node_pool.zone] # few zones have TPUs

  initial_node_count = 0

  autoscaling {
    min_node_count  = 0 # no cost while no step trains
    max_node_count  = var.tpu_node_pool.max_nodes
    location_policy = "ANY" # any zone with spot capacity
  }

  # For a slice of several hosts, which GKE creates and deletes as one: set max_nodes to the number
  # of its hosts. Without a topology, each node is a slice of its own.
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
    spot            = var.tpu_node_pool.spot # training resumes if a node is preempted
    image_type      = "COS_CONTAINERD"
    # A v6e starts from no other disk. A node holds the training image and the shards.
    disk_type    = startswith(var.tpu_node_pool.machine_type, "ct6e") ? "hyperdisk-balanced" : "pd-balanced"
    disk_size_gb = 200
    service_account = google_service_account.nodes[0].email

    # To pull images, and write logs and metrics. Pods have accounts of their own, which these
    # scopes do not limit.
    oauth_scopes = [
      "https://www.googleapis.com/auth/devstorage.read_only",
      "https://www.googleapis.com/auth/logging.write",
      "https://www.googleapis.com/auth/monitoring.write",
    ]

    shielded_instance_config {
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA" # pods cannot use the node's account
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count] # the autoscaler changes it
  }

  depends_on = [google_project_service.this]
}

# Without this account, the nodes would use the Compute Engine default account, which in many
# projects is an editor.
resource "google_service_account" "nodes" {
  count = var.tpu_node_pool == null ? 0 : 1

  account_id   = "${var.name}-nodes"
  display_name = "${var.name} nodes"
  description  = "For TPU nodes: pulls images, writes logs and metrics"

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

# Steps on the cluster act as the run account, through the Kubernetes account that Kubeflow starts
# them with; annotate that account with iam.gke.io/gcp-service-account.
resource "google_service_account_iam_member" "pods" {
  count = var.tpu_node_pool == null ? 0 : 1

  service_account_id = google_service_account.this["run"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.tpu_node_pool.kubernetes_account}]"
}
