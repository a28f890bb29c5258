#!/usr/bin/env node
// The queries of queries.mjs, asked of the same documents by the official JavaScript SDK and by our tool: the answers
// must be the same, and what one refuses the other must refuse. AIOCOSMOS_EMULATOR_EIGHT is our emulator with 8
// partitions a container, where both must answer everything, every second query also in pages of 3 rows; OTHER_SERVER
// is the server that others wrote, where they are compared wherever it answers the SDK, and its answer with the
// emulator's. BUILD (build) is where the tool is, INTEROP_JS the directory with node_modules. Arguments: only the
// queries that contain one of them.

import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { queries, things, tree } from "./queries.mjs";

const { CosmosClient } = createRequire(`${process.env.INTEROP_JS}/`)("@azure/cosmos");

const key = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";
const tool = `${process.env.BUILD ?? "build"}/aiocosmos`;
const database = "the same answers";
const AT_ONCE = 4;
const PAGE = 3;

const list = Object.entries(queries).flatMap(([subject, some]) =>
    some.map((query, i) => ({ subject, paged: i % 2 > 0, ...(typeof query === "string" ? { sql: query } : query) })));

/** Runs our tool: its output, or an error with what it said. */
const run = (endpoint, args, input = "") => new Promise((resolve, reject) => {
    const env = { ...process.env, AIOCOSMOS_ENDPOINT: endpoint, AIOCOSMOS_KEY: key };
    const options = { env, timeout: 30000, maxBuffer: 1 << 26 };
    const { stdin } = execFile(tool, args, options, (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        // Killed by a signal or out of time is not a refusal.
        reject(Object.assign(new Error(stderr.trim()), { refused: error.code === 1 || error.code === 2 }));
    });
    stdin.on("error", () => {}); // It may end before it has read.
    stdin.end(input);
});

const byTool = async (server, query, page) => {
    const params = Object.entries(query.params ?? {})
        .map(([name, value]) => `--param=${name}=${JSON.stringify(value)}`);
    const args = ["query", database, query.tree ? "tree" : "things", query.sql, ...params];
    if ("pk" in query) args.push(`--pk=${JSON.stringify(query.pk)}`);
    if (page) args.push(`--page-size=${page}`);
    return (await run(server.endpoint, args)).split("\n").filter(line => line).map(line => JSON.parse(line));
};

const bySdk = async (server, query, page) => {
    const parameters = Object.entries(query.params ?? {}).map(([name, value]) => ({ name, value }));
    const options = page ? { maxItemCount: page } : {};
    if ("pk" in query) options.partitionKey = query.pk;
    const items = server.client.database(database).container(query.tree ? "tree" : "things").items;
    const { resources } = await items.query({ query: query.sql, parameters }, options).fetchAll();
    return resources.filter(row => row !== undefined);
};

/** A row as text: properties in the order of their names, without those that each server makes up. */
const asText = (row, rounded) => JSON.stringify(row, (name, value) => {
    if (typeof value === "number" && rounded) return +value.toPrecision(12);
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).filter(([name]) => !/^_(rid|self|etag|ts|attachments)$/.test(name))
        .sort(([a], [b]) => (a < b ? -1 : 1)));
});

/** The rows as texts that can be compared; where nothing orders them, in an order of their own. */
const comparable = (query, rows) => {
    const texts = rows.map(row => asText(row, /\b(SUM|AVG|EXP|LOG|SIN|SQRT|POWER)\(/i.test(query.sql)));
    return /\bORDER BY\b/i.test(query.sql) ? texts : texts.sort();
};

/** The first difference between two lists of texts, or undefined. */
const difference = (left, right) => {
    const at = left.findIndex((text, i) => text !== right[i]);
    if (at < 0 && left.length === right.length) return undefined;
    const i = at < 0 ? left.length : at;
    return `${left.length} and ${right.length} rows; at ${i}: ${left[i]?.slice(0, 300)} and ${right[i]?.slice(0, 300)}`;
};

/** Whether all of these rows are among those, each as often at most. */
const among = (some, all) => {
    const left = [...all];
    return some.every(text => left.indexOf(text) >= 0 && left.splice(left.indexOf(text), 1));
};

const settled = promise => promise.then(rows => ({ rows }), error => ({ error }));
const told = ({ rows, error }) =>
    (error ? `refused (${error.message.split("\n")[0].slice(0, 200)})` : `${rows.length} rows`);

/** What is wrong with these two answers to one query, or undefined. */
const disagreement = async (server, query, ours, theirs) => {
    if (query.refused) {
        const refused = ours.error?.refused && theirs.error?.code === 400;
        return refused ? undefined : `not refused by both: the tool: ${told(ours)}, the SDK: ${told(theirs)}`;
    }
    if (ours.error || theirs.error) return `the tool: ${told(ours)}, the SDK: ${told(theirs)}`;
    const [left, right] = [comparable(query, ours.rows), comparable(query, theirs.rows)];
    if (!query.any) return difference(left, right);
    const all = comparable(query, await bySdk(server, { ...query, sql: query.any }));
    if (left.length !== right.length) return difference(left, right);
    return among(left, all) && among(right, all) ? undefined : "rows that the whole query has not";
};

/** The server with the documents. */
const prepare = async (endpoint) => {
    // The other server says of itself that it is at an https address, also where it is not.
    const client = new CosmosClient({ endpoint, key, connectionPolicy: { enableEndpointDiscovery: false } });
    const { database: made } = await client.databases.create({ id: database });
    const vectorEmbeddingPolicy = { vectorEmbeddings: [
        { path: "/place", dataType: "float32", distanceFunction: "euclidean", dimensions: 3 },
    ] };
    const version = 2;
    const paths = { things: ["/pk"], tree: ["/tenant", "/user"] };
    for (const [id, documents] of Object.entries({ things, tree })) {
        const kind = paths[id].length > 1 ? "MultiHash" : "Hash";
        await made.containers.create({ id, partitionKey: { paths: paths[id], kind, version }, vectorEmbeddingPolicy });
        const lines = documents.map(document => JSON.stringify(document)).join("\n");
        await run(endpoint, ["import", database, id, "-"], lines);
    }
    return { endpoint, client };
};

let passed = 0, failed = 0, skipped = 0;
const say = (where, query, text) => console.log(`same answers: ${where}: ${JSON.stringify(query.sql)}: ${text}`);
const skip = (where, query, why) => {
    skipped++;
    console.log(`same answers: skipped: ${where}: ${JSON.stringify(query.sql)}: ${why}`);
};
const check = (where, query, wrong) => {
    if (!wrong) return passed++;
    failed++;
    say(where, query, wrong);
};

const askBoth = async (server, query, page) => {
    const [ours, theirs] = await Promise.all([byTool, bySdk].map(by => settled(by(server, query, page))));
    return { ours, theirs, wrong: await disagreement(server, query, ours, theirs) };
};

/** Asks our emulator, whole and in pages. Our tool's rows, or undefined. */
const askEmulator = async (emulator, query) => {
    const { ours, wrong } = await askBoth(emulator, query);
    if (!query.sdk) check("emulator", query, wrong);
    else if (wrong && ours.rows) skip("emulator", query, `the SDK: ${query.sdk}`);
    else check("emulator", query, wrong ?? `the SDK can, though it is noted that ${query.sdk}`);
    if (query.paged && !query.sdk)
        check(`emulator, ${PAGE} a page`, query, (await askBoth(emulator, query, PAGE)).wrong);
    return ours.rows;
};

/** Asks the other server, if it can answer, and compares its answer with the emulator's rows. */
const askOther = async (other, query, rows, cannot) => {
    if ("pk" in query && !query.refused) return cannot(query, "it does not look at the key beside a query");
    const { ours, theirs, wrong } = await askBoth(other, query);
    if (query.refused ? theirs.rows : theirs.error) return cannot(query, told(theirs));
    check("other server", query, wrong);
    if (!rows || !ours.rows || query.any) return undefined;
    const differs = difference(comparable(query, rows), comparable(query, ours.rows));
    if (!query.other) check("both servers", query, differs);
    else if (differs) skip("both servers", query, `the other server: ${query.other}`);
    else check("both servers", query, `they agree, though it is noted of the other one that ${query.other}`);
    return undefined;
};

const wanted = process.argv.slice(2);
const chosen = list.filter(({ sql }) => !wanted.length || wanted.some(part => sql.includes(part)));
const emulator = await prepare(process.env.AIOCOSMOS_EMULATOR_EIGHT);
const other = await prepare(process.env.OTHER_SERVER);

/** What the other server does not know, by subject: that is much. */
const unanswered = {};
const cannot = (query, why) => {
    (unanswered[query.subject] ??= []).push(query);
    if (wanted.length) say("other server", query, why);
};

const left = [...chosen];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let query; (query = left.shift());) await askOther(other, query, await askEmulator(emulator, query), cannot);
}));
for (const [subject, some] of Object.entries(unanswered)) {
    const all = chosen.filter(query => query.subject === subject).length;
    skipped += some.length;
    console.log(`same answers: skipped: other server: ${subject}: it cannot answer ${some.length} of ${all}`);
}

for (const { client } of [emulator, other]) {
    await client.database(database).delete();
    client.dispose();
}
console.log(`same answers: ${chosen.length} queries`);
console.log(`same answers: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed ? 1 : 0;
