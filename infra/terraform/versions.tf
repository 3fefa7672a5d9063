# Before the first apply, enable serviceusage.googleapis.com and cloudresourcemanager.googleapis.com
# with `gcloud services enable` (README.md): Terraform cannot enable any service without these two.
# The state is local and contains no secret; a team should add a `backend "gcs"` in a separate file,
# with a bucket that this configuration does not manage.
terraform {
  required_version = ">= 1.9" # validations that refer to other variables

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50" # arguments were checked against the schema of 6.50.0; no plan or apply was run
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region

  # The budgets API rejects a person's credentials unless they name the project whose quota the
  # calls use.
  billing_project       = var.project
  user_project_override = true

  default_labels = { app = var.name }
}
