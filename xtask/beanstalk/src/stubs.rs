//! As much of IAM and EC2 as `eb` needs to believe that its roles and key pairs are there.

use crate::server::answer::{Refusal, text};
use crate::server::query::Query;
use crate::state::ACCOUNT;

const INSTANCE: &str = "aws-elasticbeanstalk-ec2-role";
const SERVICE: &str = "aws-elasticbeanstalk-service-role";
const POLICIES: [&str; 3] = [
    "AWSElasticBeanstalkWebTier",
    "AWSElasticBeanstalkMulticontainerDocker",
    "AWSElasticBeanstalkWorkerTier",
];

fn exists(what: &str, name: &str) -> Refusal {
    Refusal {
        status: 409,
        code: "EntityAlreadyExists",
        message: format!("{what} {name} already exists."),
    }
}

/// # Errors
///
/// That the role exists already, which `eb` takes as good news; or that an action is not known.
pub(crate) fn identity(action: &str, query: &Query, request: &str) -> Result<String, Refusal> {
    let name = |member: &str| text(query.text(member).unwrap_or_default());
    let result = match action {
        "CreateInstanceProfile" | "AddRoleToInstanceProfile" => {
            return Err(exists("Instance Profile", &name("InstanceProfileName")));
        }
        "CreateRole" => return Err(exists("Role with name", &name("RoleName"))),
        "ListRoles" => {
            let roles = [INSTANCE, SERVICE].map(|it| format!("<member>{}</member>", role(it)));
            format!("<IsTruncated>false</IsTruncated><Roles>{}</Roles>", roles.concat())
        }
        "GetRole" => format!("<Role>{}</Role>", role(&name("RoleName"))),
        "ListAttachedRolePolicies" => {
            let policies = POLICIES.map(|policy| {
                format!(
                    "<member><PolicyName>{policy}</PolicyName><PolicyArn>arn:aws:iam::aws:policy/\
                     {policy}</PolicyArn></member>"
                )
            });
            let policies = policies.concat();
            format!(
                "<AttachedPolicies>{policies}</AttachedPolicies><IsTruncated>false</IsTruncated>"
            )
        }
        "ListInstanceProfiles" => format!(
            "<IsTruncated>false</IsTruncated><InstanceProfiles><member><Path>/</Path>\
             <InstanceProfileName>{INSTANCE}</InstanceProfileName><InstanceProfileId>\
             AIPALOCAL0000000000</InstanceProfileId><Arn>arn:aws:iam::{ACCOUNT}:instance-profile/\
             {INSTANCE}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><Roles/></member>\
             </InstanceProfiles>"
        ),
        "AttachRolePolicy" | "PutRolePolicy" => String::new(),
        _ => return Err(unknown(action)),
    };
    // What has no result has no element for one.
    let result = match result.is_empty() {
        true => result,
        false => format!("<{action}Result>{result}</{action}Result>"),
    };
    Ok(format!(
        "<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">{result}\
         <ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{action}Response>"
    ))
}

fn role(name: &str) -> String {
    format!(
        "<Path>/</Path><RoleName>{name}</RoleName><RoleId>AROALOCAL0000000000</RoleId><Arn>\
         arn:aws:iam::{ACCOUNT}:role/{name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
         <AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument>"
    )
}

fn unknown(action: &str) -> Refusal {
    Refusal {
        status: 400,
        code: "InvalidAction",
        message: format!("Could not find operation {action}"),
    }
}

/// # Errors
///
/// When an action is not known.
pub(crate) fn machines(action: &str, query: &Query, request: &str) -> Result<String, Refusal> {
    let content = match action {
        "DescribeKeyPairs" => {
            let wanted = query.inner("KeyName");
            let named = wanted.text("1").map(text);
            let item = |name: String| {
                format!(
                    "<item><keyName>{name}</keyName><keyFingerprint>local</keyFingerprint></item>"
                )
            };
            format!("<keySet>{}</keySet>", named.map(item).unwrap_or_default())
        }
        "ImportKeyPair" => {
            let name = text(query.text("KeyName").unwrap_or_default());
            format!("<keyName>{name}</keyName><keyFingerprint>local</keyFingerprint>")
        }
        "DescribeVpcs" => "<vpcSet/>".to_owned(),
        "DescribeSecurityGroups" => "<securityGroupInfo/>".to_owned(),
        "DescribeInstances" => "<reservationSet/>".to_owned(),
        _ => return Err(unknown(action)),
    };
    Ok(format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{request}\
         </requestId>{content}</{action}Response>"
    ))
}

/// Who the caller is.
pub(crate) fn caller(action: &str, request: &str) -> Result<String, Refusal> {
    if action != "GetCallerIdentity" {
        return Err(unknown(action));
    }
    Ok(format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/local</Arn><UserId>LOCAL\
         </UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult><ResponseMetadata>\
         <RequestId>{request}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    ))
}
