// bench/query.mjs: what bench/query.c asks, by the official JavaScript SDK, of the container that it has left.
// INTEROP_JS is the directory with its node_modules; AIOCOSMOS_EMULATOR the emulator.

import { createRequire } from "node:module";

const { CosmosClient } = createRequire(`${process.env.INTEROP_JS}/`)("@azure/cosmos");
const key = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

const queries = {
    "ORDER BY": 'SELECT c.id, c["value"] FROM c ORDER BY c["value"]',
    DISTINCT: "SELECT DISTINCT VALUE c.user FROM c",
    "GROUP BY": "SELECT c.device, COUNT(1) AS n, AVG(c.reading) AS mean FROM c GROUP BY c.device",
};

for (const [name, sql] of Object.entries(queries)) {
    const client = new CosmosClient({ endpoint: process.env.AIOCOSMOS_EMULATOR, key });
    const items = client.database("bench queries").container("some").items;
    const began = performance.now(), before = process.cpuUsage();
    const pages = items.query(sql, { maxItemCount: 1000, maxDegreeOfParallelism: 16, bufferItems: true });
    let rows = 0;
    while (pages.hasMoreResults()) rows += (await pages.fetchNext()).resources?.length ?? 0;
    const seconds = (performance.now() - began) / 1000, cpu = process.cpuUsage(before);
    console.log(`${name.padEnd(9)} JavaScript ${String(rows).padStart(8)} rows  ` +
        `${(rows / seconds).toFixed(0).padStart(9)} rows/s  ` +
        `${((cpu.user + cpu.system) / rows).toFixed(2).padStart(6)} us of CPU a row  ` +
        `${(process.memoryUsage().rss / 1048576).toFixed(1).padStart(6)} MB`);
    client.dispose();
}
