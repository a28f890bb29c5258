// bench/bulk.mjs: what bench/client.c inserts in batches, by the bulk of the official JavaScript SDK.
//
//     bulk.mjs URL COUNT       COUNT items after a first run of as many; prints lines "name value"
//
// INTEROP_JS is the directory with its node_modules.

import { createRequire } from "node:module";

const { CosmosClient } = createRequire(`${process.env.INTEROP_JS}/`)("@azure/cosmos");
const [endpoint, count] = process.argv.slice(2);
const client = new CosmosClient({ endpoint, key: Buffer.from("bench").toString("base64") });
const { items } = client.database("bench").container("events");

let number = 10000000;
const operation = () => {
    number++;
    const deviceId = `device-${number}`;
    return { operationType: "Create", partitionKey: deviceId, resourceBody: {
        id: `event-${number}`, deviceId, temperature: 21.5, humidity: 40, status: "ok", at: "2026-11-20T00:00:00Z",
        note: `${number}${"n".repeat(48)}`,
    } };
};

const insert = async () => {
    const results = await items.executeBulkOperations(Array.from({ length: +count }, operation));
    const failed = results.find(one => one.response?.statusCode !== 201);
    if (failed) throw new Error(failed.error?.message ?? "not inserted");
};

await insert();
const began = performance.now(), before = process.cpuUsage();
await insert();
const cpu = process.cpuUsage(before);
console.log(`seconds ${(performance.now() - began) / 1000}`);
console.log(`cpu_us ${cpu.user + cpu.system}`);
client.dispose();
