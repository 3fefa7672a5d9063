data "google_project" "this" {
  count = var.billing_account == null && var.kms_key == null ? 0 : 1

  project_id = var.project # budgets and accounts of services have its number
}

# Notifies the billing account's administrators by mail; it stops nothing. Applying it requires
# roles/billing.costsManager on the billing account.
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
      currency_code = var.budget_currency # null: that of the billing account; any other is rejected
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  # The forecast warns in the first days of a month that will exceed the budget.
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  depends_on = [google_project_service.this]
}
