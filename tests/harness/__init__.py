# SPDX-License-Identifier: Apache-2.0
"""What the tests share. Programs under test: case, pair, culvert_program, program. Peers: back_ends, tcp_server,
recorder, token_issuer, hostile_server, hostile_agent, squid. Clients: echo_client, strict_http_client. A cluster:
kubernetes. The rest has one purpose a file."""
