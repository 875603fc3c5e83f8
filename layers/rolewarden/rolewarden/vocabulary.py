"""The words of the compiled policies: actions, tags, kinds of resources and services, grouped by their use.

`rolewarden.policies` makes statements of them. Facts about actions, resources and condition keys are those of the
Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html, list_bedrock-mantle.html
and list_amazonsagemaker.html). docs/census.csv says of each action of AWS by which statement it is denied, or why it is
not denied. tests/guardrails compares every name with AWS's data.
"""

from __future__ import annotations

CANVAS_USE = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
"""The calls that Canvas itself makes. Bedrock authorizes Converse and StartAsyncInvoke as InvokeModel, and
ConverseStream as InvokeModelWithResponseStream."""

USE_MODEL = (
    "bedrock:InvokeModel*",
    "bedrock:CreateModelInvocationJob",
    "bedrock:Create*EvaluationJob",
    "bedrock:CreateAdvancedPromptOptimizationJob",
)
"""Actions that Bedrock authorizes on the model itself."""

INVOKE = ("bedrock:InvokeModel*",)
"""The actions of USE_MODEL that have the condition keys of inference profiles and of Amazon Bedrock Guardrails."""

BATCH = ("bedrock:CreateModelInvocationJob",)
"""The action of USE_MODEL that creates a batch job."""

JOBS = tuple(action for action in USE_MODEL if action not in INVOKE)
"""The actions of USE_MODEL that create a job. Their requests name neither the inference profile nor an Amazon Bedrock
Guardrail in a condition key."""

CANVAS_CUSTOMIZE = (
    "bedrock:CreateModelCustomizationJob",
    "bedrock:CreateCustomModelDeployment",
    "bedrock:CreateProvisionedModelThroughput",
)
"""Actions that train a model further and deploy the result: Canvas calls this fine-tuning."""

CUSTOMIZE_NAMED_BY_CANVAS = ("bedrock:CreateModelCustomizationJob", "bedrock:CreateProvisionedModelThroughput")
"""The actions of CANVAS_CUSTOMIZE that Bedrock authorizes on the model that is customized."""

CUSTOMIZE_NAMED = (*CUSTOMIZE_NAMED_BY_CANVAS, "bedrock:UpdateProvisionedModelThroughput")
"""All customizing actions that Bedrock authorizes on the model that is customized."""

CUSTOMIZE = (
    "bedrock:CreateCustomModel*",
    "bedrock:CreateModelCustomizationJob",
    "bedrock:CreateProvisionedModelThroughput",
    "bedrock:Update*Model*",
)
"""All actions of Bedrock that customize a model or deploy a customized one, and those that change a deployment."""

CUSTOMIZE_ON_MANTLE = (
    "bedrock-mantle:AssociateCustomizedModel",
    "bedrock-mantle:CreateCustomizedModel",
    "bedrock-mantle:CreateFineTuningJob",
)
"""The customizing actions of the Bedrock mantle endpoint. Only the last one names the model that it customizes."""

RENAME_MODEL = (
    "bedrock:CreateInferenceProfile",
    "bedrock:CreateMarketplaceModelEndpoint",
    "bedrock:CreateModelCopyJob",
    "bedrock:CreateModelImportJob",
    "bedrock:CreatePromptRouter",
    "bedrock:RegisterMarketplaceModelEndpoint",
)
"""Actions that import a model, or that give a model another ARN, which does not show which model it is."""

RENAME_CUSTOMIZED = ("bedrock:CreateCustomModel", "bedrock:UpdateMarketplaceModelEndpoint")
"""Actions like RENAME_MODEL that CUSTOMIZE covers."""

USE_ANY_MODEL = (
    "bedrock:Create*Job",
    "bedrock:CreateCustomModel*",
    "bedrock:CreateInferenceProfile",
    "bedrock:CreateMarketplaceModelEndpoint",
    "bedrock:CreatePromptRouter",
    "bedrock:CreateProvisionedModelThroughput",
    "bedrock:InvokeModel*",
    "bedrock:RegisterMarketplaceModelEndpoint",
    "bedrock:Update*Model*",
)
"""The actions of USE_MODEL, CUSTOMIZE and RENAME_MODEL for a statement that denies every model. Each job that Bedrock
can create trains, copies, imports, evaluates or invokes a model."""

USE_ANY_MODEL_ON_MANTLE = (
    "bedrock-mantle:AssociateCustomizedModel",
    "bedrock-mantle:CallWithBearerToken",
    "bedrock-mantle:Create*",
)
"""The actions of the Bedrock mantle endpoint for a statement that denies every model."""

USE_INDIRECTLY = (
    "bedrock:AgenticRetrieveStream",
    "bedrock:CreateDataSource",
    "bedrock:GenerateQuery",
    "bedrock:IngestKnowledgeBaseDocuments",
    "bedrock:Invoke*Agent",
    "bedrock:InvokeBlueprint*",
    "bedrock:InvokeBuilder",
    "bedrock:InvokeDataAutomation*",
    "bedrock:InvokeFlow",
    "bedrock:InvokeTool",
    "bedrock:OptimizePrompt",
    "bedrock:Rerank",
    "bedrock:RetrieveAndGenerate",
    "bedrock:Start*",
    "bedrock:UpdateDataSource",
)
"""Actions that let a model answer under another identity than the role's, or that name no model.

The parser of a data source is a model with a prompt, and bedrock:Retrieve returns its text. Each action that begins
with `Start` lets a model work in the background: flows, ingestion, and the workflows of automated reasoning."""

RERANK = ("bedrock:Rerank",)
"""The action of USE_INDIRECTLY that AWS also authorizes as bedrock:InvokeModel on its model, by the caller
(https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-prereq.html)."""

IMPORT = ("bedrock:CreateModelCopyJob", "bedrock:CreateModelImportJob")
"""The actions of RENAME_MODEL whose result is a customized model."""

WRAP = ("bedrock:CreateInferenceProfile", "bedrock:CreatePromptRouter")
"""The actions of RENAME_MODEL whose result does not show to which inference profile of AWS it leads."""

INFER_ON_MANTLE = ("bedrock-mantle:CreateInference",)

OTHER_PLATFORMS = (
    "aws-external-anthropic:*",
    "bedrock-agentcore:Create*",
    "bedrock-agentcore:Evaluate",
    "bedrock-agentcore:IngestData",
    "bedrock-agentcore:Invoke*",
    "bedrock-agentcore:RetrieveMemoryRecords",
    "bedrock-agentcore:Start*",
    "bedrock-agentcore:Update*",
    "nova-act:*",
)
"""Actions on models in other IAM namespaces, which have no condition key for the model. An agent, a memory, an
evaluator and a harness of AgentCore have a model and a prompt of their own, so creating and changing them is denied,
too. Claude Platform on AWS and Nova Act are nothing but models, so the whole namespace is denied."""

PASSED_TO_BEDROCK = ("bedrock*.amazonaws.com",)
"""The services to which a role has to be passed only for work with the models of Bedrock: `bedrock.amazonaws.com` and
`bedrock-agentcore.amazonaws.com`."""

PASSED_TO = (*PASSED_TO_BEDROCK, "events.amazonaws.com", "*sagemaker.amazonaws.com")
"""The services to which AWS's managed policies for Canvas let a role pass every other role, and the services that run
code of a user with it. `job.sagemaker.amazonaws.com` is the second name of SageMaker."""

GEOGRAPHIES = ("apac", "au", "ca", "eu", "global", "jp", "us", "us-gov")
"""The known beginnings of the IDs of AWS's inference profiles: a geography, or `global` for every commercial region."""

GATEWAYS = ("default-prompt-router", "marketplace/model-endpoint", "prompt-router")
"""Bedrock resources that lead to a model, and that are not a customized model. APPLICATION_PROFILE is one, too."""

APPLICATION_PROFILE = "application-inference-profile"

IMPORTED_MODEL = "imported-model"

CUSTOM_MODELS = ("custom-model", "custom-model-deployment", "provisioned-model")
"""Bedrock resources that are a customized model and do not name the model from which it was made."""

NO_MODELS = ("async-invoke", "project")
"""Bedrock resources on which Bedrock authorizes an invocation in addition to its model. According to the condition keys
bedrock:ProjectArn and bedrock:ModelArn, a project belongs to a stateful invocation, which is authorized on its model,
too."""

BATCHES = ("model-invocation-job",)
"""Bedrock resources on which Bedrock authorizes a batch job in addition to its model."""

JUMPSTART_TAGS = (
    "sagemaker-sdk:jumpstart-model-id",
    "sagemaker-studio:jumpstart-model-id",
    "sm-jumpstart-id",
)
"""The tags with which Canvas, Studio and the SageMaker Python SDK mark resources that they make from a JumpStart model.
Their value is the ID of the model."""

HUB_TAGS = ("sagemaker-sdk:hub-content-arn", "sagemaker-studio:hub-content-arn")
"""The tags with which the SDK, Studio and Bedrock Marketplace mark such resources. Their value is the ARN of the
model's entry in a hub (https://docs.aws.amazon.com/bedrock/latest/userguide/control-amazon-bedrock-marketplace.html)."""

MARK_TAG = "endpoint-has-jumpstart-model"
"""The tag with which SageMaker Unified Studio marks such resources. It does not name the model (managed policy
SageMakerStudioProjectRoleMachineLearningPolicy)."""

OTHER_TAG_KEYS = (
    "aws-jumpstart-*",
    "bedrock:marketplace-registration-status",
    "sagemaker-sdk:bedrock",
)
"""Tag keys that the SDK and Bedrock Marketplace set in addition to these tags (sagemaker-python-sdk, JumpStartTag;
managed policy AmazonBedrockMarketplaceAccess)."""

TAG_KEYS = (MARK_TAG, "sagemaker-s*:hub-content-arn", "sagemaker-s*:jumpstart-*", "sm-jumpstart-*")
"""Patterns of JUMPSTART_TAGS, HUB_TAGS and MARK_TAG, and of the further tags of the same form: the model's version and
configuration."""

CANVAS_CREATE = ("sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig")
"""The actions with which Canvas deploys a JumpStart model."""

CREATE = ("sagemaker:Create*",)
"""Actions whose request holds the tags of the new resource. If an action takes no tags, a condition on them is never
true."""

USE_TAGGED = (
    "sagemaker:AddTags",
    "sagemaker:Create*",
    "sagemaker:DeleteTags",
    "sagemaker:Invoke*",
    "sagemaker:Update*",
)
"""Actions that create, invoke or change a resource that has the tags, and actions that rewrite tags. Endpoints and
inference components can have them."""

USE_HUB = (
    "sagemaker:CreateHubContentPresignedUrls",
    "sagemaker:DeployHubModel",
    "sagemaker:TrainHubModel",
)
"""Actions that SageMaker authorizes on the model's entry in a hub."""

RENAME_IN_HUB = (
    "sagemaker:CreateHubContentReference",
    "sagemaker:ImportHubContent",
    "sagemaker:UpdateHubContentReference",
)
"""Actions that give a model of JumpStart an entry under another name in a hub."""

CREATE_JOB = "sagemaker:CreateJob"

CUSTOMIZE_SERVERLESS = (
    "sagemaker:CreateTrainingSession",
    "sagemaker:Execute*",
    "sagemaker:Sample*",
)
"""SageMaker's serverless model customization, next to CREATE_JOB: it trains a hub model and samples answers from it.
Its actions name no model. Classic ML does not use it (SageMaker Developer Guide, "Training session APIs")."""

DATA_JOBS = ("DataQualityEvaluation", "DataTransformation")
"""The categories of sagemaker:CreateJob that prepare data. The ARN of a job contains its category."""

USE_HOSTED_INDIRECTLY = (
    "sagemaker:CreateAI*Job",
    "sagemaker:InvokeGlobal*",
    "sagemaker:InvokeInference*",
)
"""Actions that let a hosted generative model answer and that name no model: HyperPod's inference gateways, inference
routers, and the jobs that measure and optimize generative inference as another role."""

THROUGH_BEDROCK = ("bedrock:CreateMarketplaceModelEndpoint", "bedrock:RegisterMarketplaceModelEndpoint")
"""Actions of Bedrock on an endpoint that serves a JumpStart model."""

CANVAS_ASSISTANTS = ("q:SendMessage", "q:StartConversation", "sagemaker-data-science-assistant:SendConversation")
"""The calls of the assistants in Canvas, as AmazonSageMakerCanvasSMDataScienceAssistantAccess allows them."""

ASSISTANTS = (
    "aidevops:CreateChat",
    "aidevops:SendMessage",
    "aiops:CreateInvestigation",
    "aiops:GenerateReport",
    "assurance:Chat",
    "cloudtrail:GenerateQuery*",
    "cloudwatch:GenerateQuery*",
    "codewhisperer:Generate*",
    "datazone:GenerateCode",
    "datazone:InvokeAgent",
    "datazone:SendMessage",
    "datazone:StartConversation",
    "datazone:StartMetadataGenerationRun",
    "detective:Invoke*",
    "finops-agent:Create*",
    "glue:StartCompletion",
    "iotsitewise:InvokeAssistant",
    "network-security-manager:Generate*",
    "networkmanager-chat:Send*",
    "q:Generate*",
    "q:Send*",
    "q:Start*",
    "qapps:Predict*",
    "qapps:StartQAppSession",
    "qapps:UpdateQAppSession",
    "qbusiness:Chat*",
    "qdeveloper:Start*",
    "qdeveloper:TransformCode",
    "sagemaker-data-science-assistant:*",
    "securityagent:CreateDesignReview",
    "securityagent:Start*",
    "sqlworkbench:Get*Recommendations",
    "transform-custom:ConverseStream",
    "transform-custom:Execute*",
    "wisdom:QueryAssistant",
    "wisdom:SendMessage",
)
"""The calls of AWS's assistants by which a role gets text of a model, in Canvas, in Studio and elsewhere."""

WEIGHT_BUCKETS = ("jumpstart-cache-prod-*", "jumpstart-private-cache-prod-*")
"""The buckets in which AWS keeps the public and the gated models of JumpStart: each region has one of each kind."""

USE_ROLE = ("iam:PassRole", "sts:AssumeRole")
"""The actions with which a caller works as another role: AWS works as a role that the caller passes, and the caller
itself works as a role that it assumes. Neither is needed to work as an exempt role with the credentials of its own
user profile."""

SET_TAGS = ("sagemaker:AddTags", "sagemaker:DeleteTags")
"""The actions that change the tags of a domain or user profile."""

OWN_PROFILE = "${sagemaker:DomainId}/${sagemaker:UserProfileName}"
"""The end of the ARN of the caller's own user profile. SageMaker sets both keys in the session of an application
(Amazon SageMaker AI Developer Guide, "Using custom setup", has the same ARN in a policy for execution roles)."""

USE_SPACES = ("sagemaker:CreateApp", "sagemaker:CreateSpace", "sagemaker:UpdateSpace")
"""The actions by which a caller starts an application in a space, or decides what runs there."""

SPACE_OWNER, SPACE_SHARING = "sagemaker:OwnerUserProfileArn", "sagemaker:SpaceSharingType"
"""The condition keys for the owner of a space, and for `Private` or `Shared` (Service Authorization Reference)."""

SPACE_PROFILE_TAG = "sagemaker:ResourceTag/sagemaker:user-profile-arn"
"""The tag of a space with its user profile, for StartSession (Amazon SageMaker AI Developer Guide, "Set up remote
access")."""

USE_API_KEY = (
    "aws-external-anthropic:CallWithBearerToken",
    "bedrock-mantle:CallWithBearerToken",
    "bedrock:CallWithBearerToken",
    "sagemaker:CallWithBearerToken",
)
"""The actions that AWS authorizes if a call to a model has an API key instead of a signature."""

CREATE_API_KEY = (
    "iam:CreateServiceSpecificCredential",
    "iam:ResetServiceSpecificCredential",
    "iam:UpdateServiceSpecificCredential",
)
"""The actions that give a caller the secret of a long-term API key of an IAM user, or activate such a key."""

API_KEY_SERVICES = ("aws-external-anthropic*", "bedrock*")
"""The services with models whose long-term API keys IAM creates. AWS documents `bedrock.amazonaws.com`."""
