# Before the first apply: `gcloud services enable serviceusage.googleapis.com cloudresourcemanager.googleapis.com`, for
# Terraform can enable nothing without these two. State is local; it holds no secret, but a team wants a `backend "gcs"` in a
# file of its own, in a bucket that this configuration does not manage.
terraform {
  required_version = ">= 1.9" # validations that look at other variables

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

  # The budgets API refuses a person's credentials unless they name the project that the calls count against.
  billing_project       = var.project
  user_project_override = true

  default_labels = { app = var.name }
}
