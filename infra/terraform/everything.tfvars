# Every option on, for check.sh and its scanner.
project           = "my-project-id"
github_repository = "owner/name"
billing_account   = "012345-6789AB-CDEF01"
publish_prefix    = "records"
kms_key           = "projects/my-project-id/locations/us-central1/keyRings/foldline/cryptoKeys/buckets"
ci_starts_builds  = true

tpu_node_pool = {
  cluster  = "kubeflow"
  location = "us-central1"
  zone     = "us-central1-a"
  topology = "2x2"
}
