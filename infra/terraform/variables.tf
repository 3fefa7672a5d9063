variable "project" {
  description = "Id of an existing project with billing, preferably one that contains nothing else"
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "Region of the buckets, registries and pipelines"
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "A region is written like us-central1; a zone (us-central1-a) or a multi-region (eu) is none."
  }
}

variable "name" {
  description = "Prefix of the names of all resources"
  type        = string
  default     = "foldline"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "name has 3 to 16 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "run_days" {
  description = "Days after which a run's artifacts are deleted; download models that you want to keep before that"
  type        = number
  default     = 90

  validation {
    condition     = var.run_days >= 7 && var.run_days <= 3650 && floor(var.run_days) == var.run_days
    error_message = "run_days is a whole number from 7 to 3650: a run may train for days."
  }
}

variable "noncurrent_days" {
  description = "Days for which a replaced or deleted object can be restored as a version"
  type        = number
  default     = 14

  validation {
    condition     = var.noncurrent_days >= 1 && var.noncurrent_days <= 365 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days is a whole number from 1 to 365."
  }
}

variable "soft_delete_days" {
  description = "Days for which a deleted version or bucket can be restored, billed as storage; 0: not at all"
  type        = number
  default     = 7

  validation {
    condition     = contains(concat([0], range(7, 91)), var.soft_delete_days)
    error_message = "soft_delete_days is 0, or a whole number from 7 to 90."
  }
}

variable "kms_key" {
  description = "Full name of a Cloud KMS key for the buckets; null: Google's own keys"
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/${var.region}/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key is projects/P/locations/REGION/keyRings/R/cryptoKeys/K, in the buckets' region."
  }
}

variable "publish_prefix" {
  description = "Folder of the data bucket that `records.publish` may write to, without leading or trailing slashes; null: none"
  type        = string
  default     = null

  validation {
    condition     = var.publish_prefix == null || can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.publish_prefix))
    error_message = "publish_prefix is a path like records or shared/records."
  }
}

variable "keep_versions" {
  description = "How many of the newest versions of each image and pipeline are kept, tagged or not"
  type        = number
  default     = 10

  validation {
    condition     = var.keep_versions >= 1 && var.keep_versions <= 1000 && floor(var.keep_versions) == var.keep_versions
    error_message = "keep_versions is a whole number from 1 to 1000."
  }
}

variable "untagged_days" {
  description = "Days after which other untagged versions are deleted"
  type        = number
  default     = 30

  validation {
    condition     = var.untagged_days >= 1 && var.untagged_days <= 3650 && floor(var.untagged_days) == var.untagged_days
    error_message = "untagged_days is a whole number from 1 to 3650."
  }
}

variable "github_repository" {
  description = "Repository whose workflows build and submit: owner/name, as GitHub spells it; null: no federation"
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", var.github_repository))
    error_message = "github_repository is owner/name, without https:// and .git."
  }
}

variable "github_repository_id" {
  description = "Id of github_repository (`gh api repos/OWNER/NAME --jq .id`), which nobody can take over; null: only the name is checked"
  type        = string
  default     = null

  validation {
    condition     = var.github_repository_id == null || can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "github_repository_id is a number."
  }
}

variable "github_refs" {
  description = "Branches and tags whose workflows are accepted, as full refs"
  type        = list(string)
  default     = ["refs/heads/main"]

  validation {
    condition     = length(var.github_refs) > 0 && alltrue([for ref in var.github_refs : can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", ref))])
    error_message = "github_refs are written like refs/heads/main or refs/tags/v1; there is at least one."
  }
}

variable "ci_starts_builds" {
  description = "Whether the build account may start Cloud Builds; not needed if the runner builds or a person starts them. It can then also start them as Cloud Build's default account: make sure that that account has no roles"
  type        = bool
  default     = false
}

variable "billing_account" {
  description = "Id of the billing account, for a budget; null: none"
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account is written like 012345-6789AB-CDEF01."
  }
}

variable "monthly_budget" {
  description = "Budget of a month, in whole units of the currency"
  type        = number
  default     = 200

  validation {
    condition     = var.monthly_budget >= 1 && var.monthly_budget <= 1000000 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget is a whole number from 1 to 1000000."
  }
}

variable "budget_currency" {
  description = "Currency of the billing account, such as USD; null: whichever it has"
  type        = string
  default     = null

  validation {
    condition     = var.budget_currency == null || can(regex("^[A-Z]{3}$", var.budget_currency))
    error_message = "budget_currency has three capital letters."
  }
}

variable "tpu_node_pool" {
  description = "TPU nodes on an existing cluster with Workload Identity; null: none. kubernetes_account is the namespace/name of the account that steps run as; topology is only for slices of several hosts"
  type = object({
    cluster            = string
    location           = string
    zone               = string
    machine_type       = optional(string, "ct5lp-hightpu-4t")
    topology           = optional(string)
    max_nodes          = optional(number, 1)
    spot               = optional(bool, true)
    kubernetes_account = optional(string, "kubeflow/pipeline-runner")
  })
  default = null

  validation {
    condition     = var.tpu_node_pool == null || can(regex("^ct(5lp-hightpu|6e-standard)-[148]t$", var.tpu_node_pool.machine_type))
    error_message = "tpu_node_pool.machine_type is of TPU v5e or v6e, like ct5lp-hightpu-4t."
  }

  validation {
    condition     = var.tpu_node_pool == null || can(regex("^[a-z]+-[a-z]+[0-9]{1,2}-[a-z]$", var.tpu_node_pool.zone))
    error_message = "tpu_node_pool.zone is written like us-central1-a."
  }

  validation {
    condition     = var.tpu_node_pool == null || can(regex("^[0-9]{1,2}x[0-9]{1,2}$", coalesce(var.tpu_node_pool.topology, "2x2")))
    error_message = "tpu_node_pool.topology is written like 4x4."
  }

  validation {
    condition     = var.tpu_node_pool == null || try(contains(range(1, 65), var.tpu_node_pool.max_nodes), false)
    error_message = "tpu_node_pool.max_nodes is a whole number from 1 to 64."
  }

  validation {
    condition     = var.tpu_node_pool == null || can(regex("^[a-z0-9-]+/[a-z0-9.-]+$", var.tpu_node_pool.kubernetes_account))
    error_message = "tpu_node_pool.kubernetes_account is namespace/name."
  }
}
