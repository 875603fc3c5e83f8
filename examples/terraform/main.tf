# Deploy the stack of Rolewarden from Terraform. Before each `terraform apply`, package the template:
#
#   sam build
#   sam package --s3-bucket "$BUCKET" --output-template-file packaged.yaml
#
# The packaged template names the code in the bucket by its hash, so Terraform updates the stack if the code or
# guardrails.yaml has changed.

variable "bucket" {
  description = "The bucket of `sam package`, in the region of the stack."
  type        = string
}

variable "alarm_email" {
  description = "The address that gets the alarms."
  type        = string
}

resource "aws_s3_object" "template" {
  bucket      = var.bucket
  key         = "rolewarden/${filesha256("${path.module}/packaged.yaml")}.yaml"
  source      = "${path.module}/packaged.yaml"
  source_hash = filesha256("${path.module}/packaged.yaml")
}

resource "aws_cloudformation_stack" "rolewarden" {
  name         = "rolewarden"
  template_url = "https://${var.bucket}.s3.amazonaws.com/${aws_s3_object.template.key}"

  # The template has roles with names, and the transform of SAM.
  capabilities = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]

  parameters = {
    AlarmEmail = var.alarm_email
    OnDelete   = "keep"
  }

  lifecycle {
    prevent_destroy = true
  }
}
