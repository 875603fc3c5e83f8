"""A local AWS to try Rolewarden on: MiniStack, moto's SageMaker, and what both lack, behind one endpoint.

- `aws`: the endpoint, in process or over HTTP; the log of calls; calls that fail on demand
- `cloudtrail`: each changing call as the event EventBridge would deliver
- `iam`: IAM's quotas, protected roles, checks of policies and paging
- `sagemaker`: Studio's domains, user profiles and spaces, here and on plain `moto.mock_aws`
- `seed`: two domains, their profiles and roles
"""
