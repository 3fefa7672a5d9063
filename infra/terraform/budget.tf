data "google_project" "this" {
  count = var.billing_account == null ? 0 : 1

  project_id = var.project # a budget knows projects by number
}

# Tells the billing account's administrators by mail; it stops nothing. Whoever applies it needs
# roles/billing.costsManager there.
resource "google_billing_budget" "this" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = "${var.name} ${var.project}"

  budget_filter {
    projects = ["projects/${data.google_project.this[0].number}"]
  }

  amount {
    specified_amount {
      units         = tostring(var.monthly_budget)
      currency_code = var.budget_currency # the billing account's own where null; another one is refused
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  # A forecast speaks up in the first days of a month that will be too dear.
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  depends_on = [google_project_service.this]
}
