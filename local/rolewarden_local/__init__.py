"""A local AWS to try Rolewarden on: MiniStack, moto's SageMaker, and what both lack, behind one endpoint.

aws       LocalAws: the endpoint, in process or over HTTP; the log of calls; injected failures
cloudtrail  each changing call as the event EventBridge would deliver
iam       IAM's quotas, protected roles, checks and paging
sagemaker Studio's domains, user profiles and spaces, for this endpoint and for plain `moto.mock_aws`
seed      two domains, their profiles and roles
"""
