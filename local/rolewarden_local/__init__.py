"""A local AWS to try Rolewarden on: MiniStack, moto's SageMaker and the parts that both lack, at one endpoint.

- `aws`: the endpoint, in process or over HTTP, with a log of all calls
- `emulated`: the parts that both lack
- `scenes`: accounts, the stage, the demo and the playground
"""
