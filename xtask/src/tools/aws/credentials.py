"""Prints the credentials that the AWS CLI of this interpreter uses: as `aws configure
export-credentials` of version 2 does, a command that version 1 does not have.
"""

import sys

# Where we were started may have files of any name: none of them is a module.
sys.path = [path for path in sys.path if path]

import json  # noqa: E402

import botocore.session  # noqa: E402
from awscli.customizations.assumerole import (  # noqa: E402
    inject_assume_role_provider_cache,
)

session = botocore.session.Session(profile=sys.argv[1] if len(sys.argv) > 1 else None)
# A role that the AWS CLI has assumed already is not assumed again, nor is a code asked for.
inject_assume_role_provider_cache(session)
credentials = session.get_credentials()
if credentials is None:
    sys.exit("Unable to locate credentials")
frozen = credentials.get_frozen_credentials()
expires = getattr(credentials, "_expiry_time", None)
print(
    json.dumps(
        {
            "AccessKeyId": frozen.access_key,
            "SecretAccessKey": frozen.secret_key,
            "SessionToken": frozen.token,
            "Expiration": expires and expires.isoformat(),
        }
    )
)
