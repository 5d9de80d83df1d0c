# SPDX-License-Identifier: Apache-2.0
"""Header fields by which clients of the HTTP proxy name an account or a location, and the setting that trusts them."""

ACCOUNT_FIELD = "SAP-Connectivity-ConsumerAccount"
SERVICE_TOKEN_FIELD = "SAP-CP-Connectivity-Service-Token"
LOCATION_FIELD = "SAP-Connectivity-SCC-Location_ID"
TRUST = "every client that can connect, without a token"
