"""The settings of a deployment that keeps all of a company's rules."""

KEY = "arn:aws:kms:us-east-1:123456789012:key/0d9f3a6c-41be-4f7a-8c52-e6b17f90d3aa"
VPC, SUBNETS, GROUPS = "vpc-0a1b2c3d", ["subnet-0a1b2c3d", "subnet-0a1b2c3e"], ["sg-0a1b2c3d"]
COMPANY = {
    "alert_email": "ops@example.com",
    "budget_usd_per_month": "500",
    "inspection_endpoint": "realtime",
    "kms_key_arn": KEY,
    "log_level": "DEBUG",
    "permissions_boundary": "company-boundary",
    "pipeline_source": "codecommit",
    "scene_model": "gligen-1",
    "security_group_ids": ",".join(GROUPS),
    "subnet_ids": ",".join(SUBNETS),
    "tags": "team=quality,cost centre=12",
    "vpc_id": VPC,
}
