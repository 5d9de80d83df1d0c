// SPDX-License-Identifier: Apache-2.0
// sap_sdk.js CALLS: makes each call (JSON: destination, method, path, data, jwt) by the SAP Cloud SDK, which finds the
// services in VCAP_SERVICES. Its last line tells in JSON what it got: {status, data}, or {status, errors}.
const { executeHttpRequest } = require("@sap-cloud-sdk/http-client");

function texts(error) {
  return error ? [error.message, ...texts(error.cause)] : [];
}

async function call({ destination, method, path, data, jwt }) {
  try {
    const response = await executeHttpRequest({ destinationName: destination, jwt }, { method, url: path, data, timeout: 20_000 });
    return { status: response.status, data: response.data };
  } catch (error) {
    return { status: error.response?.status ?? error.cause?.response?.status, errors: texts(error) };
  }
}

async function main() {
  const said = [];
  for (const each of JSON.parse(process.argv[2])) said.push(await call(each));
  process.stdout.write(`\n${JSON.stringify(said)}\n`, () => process.exit(0));
}

main();
