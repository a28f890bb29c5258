#!/usr/bin/env node
// The official JavaScript SDK against our emulator. INTEROP_JS is the directory with its node_modules.
// AIOCOSMOS_EMULATOR and AIOCOSMOS_EMULATOR_TLS are two emulators: the second one's certificate is by
// NODE_EXTRA_CA_CERTS, and it knows the Entra token AIOCOSMOS_EMULATOR_TOKEN. Arguments: only the tests whose names
// contain one of them.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { CosmosClient, BulkOperationType, ChangeFeedMode, ChangeFeedPolicy, ChangeFeedRetentionTimeSpan,
    ChangeFeedStartFrom, PartitionKeyBuilder, PermissionMode } =
    createRequire(`${process.env.INTEROP_JS}/`)("@azure/cosmos");

const key = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";
const endpoint = process.env.AIOCOSMOS_EMULATOR;

const tests = [];
const test = (name, run) => tests.push({ name, run });
/** What does not work, because of the emulator unless the reason says otherwise: tried, and told when it works. */
const limit = (name, why, run) => tests.push({ name, run, why });

const client = new CosmosClient({ endpoint, key });
const { database } = await client.databases.createIfNotExists({ id: "interop js" });
const V2 = { kind: "Hash", version: 2 };

/** A new container, by /pk unless the definition says otherwise. */
let made = 0;
const container = async (definition = {}, owner = database) => {
    const whole = { id: `c${++made}`, partitionKey: { paths: ["/pk"], ...V2 }, ...definition };
    return (await owner.containers.create(whole)).container;
};

/** Tells the emulator to do something that no client can ask for. */
const emulator = async (what, body) => {
    const answer = await fetch(`${endpoint}_emulator/${what}`, { method: "PUT", body: JSON.stringify(body) });
    assert.ok(answer.ok, await answer.text());
};

/** That the promise fails, so. */
const refused = async (promise, code, substatus) => {
    const error = await promise.then(() => assert.fail(`not refused with ${code}`), error => error);
    assert.equal(error.code, code, `${error.code}: ${error.message}`);
    if (substatus !== undefined) assert.equal(error.substatus, substatus);
    return error;
};

/** Where a missing item is an answer without a resource, as the SDK has it for reads. */
const absent = async promise => assert.equal((await promise).statusCode, 404);

const ifMatch = condition => ({ accessCondition: { type: "IfMatch", condition } });
const ifNoneMatch = condition => ({ accessCondition: { type: "IfNoneMatch", condition } });

const withoutSystem = item => Object.fromEntries(Object.entries(item).filter(([name]) => !name.startsWith("_")));

const range = count => [...Array(count).keys()];

const letters = {
    id: "letters", pk: "a", s: "é\u0000\u2028\"\\/😀", n: -0.5, big: 1e300, t: true, z: null, list: [1, [2, {}]],
};

// ---------------------------------------------------------------------------------------------------------- account

test("account", async () => {
    const { resource } = await client.getDatabaseAccount();
    assert.equal(resource.consistencyPolicy, "Session");
    assert.equal(resource.writableLocations.length, 1);
    assert.equal(await client.getWriteEndpoint(), endpoint);
    assert.equal(await client.getReadEndpoint(), endpoint);
});

test("a wrong key", async () => {
    const stranger = new CosmosClient({ endpoint, key: Buffer.from("not the key").toString("base64") });
    await refused(stranger.databases.readAll().fetchAll(), 401);
    stranger.dispose();
});

test("over TLS", async () => {
    const secure = new CosmosClient({ endpoint: process.env.AIOCOSMOS_EMULATOR_TLS, key });
    const { database } = await secure.databases.createIfNotExists({ id: "tls" });
    const items = (await container({}, database)).items;
    await Promise.all(range(40).map(i => items.create({ id: `${i}`, pk: `${i % 3}`, text: "x".repeat(1000 * i) })));
    const { resources } = await items.readAll().fetchAll();
    assert.equal(resources.length, 40);
    assert.equal(resources.find(item => item.id === "39").text.length, 39000);
    await database.delete();
    secure.dispose();
});

// -------------------------------------------------------------------------------------------------------- databases

test("databases: create, read, list, query, delete", async () => {
    const { resource, statusCode, requestCharge, activityId } = await client.databases.create({ id: "one" });
    assert.equal(statusCode, 201);
    assert.equal(resource.id, "one");
    assert.ok(requestCharge > 0);
    assert.match(activityId, /^[0-9a-f-]{36}$/);
    await refused(client.databases.create({ id: "one" }), 409);
    assert.equal((await client.databases.createIfNotExists({ id: "one" })).statusCode, 200);
    assert.equal((await client.database("one").read()).resource._rid, resource._rid);
    const ids = (await client.databases.readAll().fetchAll()).resources.map(database => database.id);
    assert.ok(ids.includes("one") && ids.includes("interop js"));
    const query = { query: "SELECT * FROM root r WHERE r.id = @id", parameters: [{ name: "@id", value: "one" }] };
    assert.deepEqual((await client.databases.query(query).fetchAll()).resources.map(database => database.id), ["one"]);
    assert.equal((await client.database("one").delete()).statusCode, 204);
    await refused(client.database("one").read(), 404);
    await refused(client.database("one").delete(), 404);
});

test("databases: odd names", async () => {
    for (const id of ["a b", "ü 100% + c", "日本語", "a&b=c;d,e"]) {
        await client.databases.create({ id });
        const { resource } = await client.database(id).read();
        assert.equal(resource.id, id);
        const { container } = await client.database(id).containers.create({ id, partitionKey: "/pk" });
        await container.items.create({ id, pk: id });
        assert.equal((await container.item(id, id).read()).resource.id, id);
        assert.equal((await container.items.query("SELECT * FROM c").fetchAll()).resources.length, 1);
        await client.database(id).delete();
    }
});

test("databases: names that cannot be", async () => {
    // The SDK has its own rules, which come first.
    for (const id of ["", "a/b", "a\\b", "a#b", "a?b"]) await assert.rejects(client.databases.create({ id }));
});

test("databases: throughput", async () => {
    const { database } = await client.databases.create({ id: "paid", throughput: 500 });
    const { resource, offer } = await database.readOffer();
    assert.equal(resource.content.offerThroughput, 500);
    resource.content.offerThroughput = 600;
    await offer.replace(resource);
    assert.equal((await database.readOffer()).resource.content.offerThroughput, 600);
    await database.delete();
});

test("databases: autoscale", async () => {
    const { database } = await client.databases.create({ id: "scaled", maxThroughput: 4000 });
    const { resource, offer } = await database.readOffer();
    assert.equal(resource.content.offerAutopilotSettings.maxThroughput, 4000);
    resource.content.offerAutopilotSettings.maxThroughput = 8000;
    await offer.replace(resource);
    assert.equal((await offer.read()).resource.content.offerAutopilotSettings.maxThroughput, 8000);
    await database.delete();
    await refused(offer.read(), 404);
});

// ------------------------------------------------------------------------------------------------------- containers

test("containers: create, read, list, query, replace, delete", async () => {
    const { resource, container, statusCode } = await database.containers.create({ id: "crud", partitionKey: "/pk" });
    assert.equal(statusCode, 201);
    assert.deepEqual(resource.partitionKey.paths, ["/pk"]);
    assert.equal(resource.indexingPolicy.indexingMode, "consistent");
    await refused(database.containers.create({ id: "crud", partitionKey: "/pk" }), 409);
    assert.equal((await database.containers.createIfNotExists({ id: "crud", partitionKey: "/pk" })).statusCode, 200);
    assert.equal((await container.read()).resource._self, resource._self);
    assert.ok((await database.containers.readAll().fetchAll()).resources.some(container => container.id === "crud"));
    const query = { query: "SELECT c.id FROM c WHERE c.id = @id", parameters: [{ name: "@id", value: "crud" }] };
    assert.deepEqual((await database.containers.query(query).fetchAll()).resources, [{ id: "crud" }]);
    resource.defaultTtl = 100;
    assert.equal((await container.replace(resource)).resource.defaultTtl, 100);
    assert.equal((await container.delete()).statusCode, 204);
    await refused(container.read(), 404);
    await refused(container.items.create({ id: "1", pk: "1" }), 404);
});

test("containers: lists in pages", async () => {
    const { database } = await client.databases.create({ id: "many" });
    for (const i of range(5)) await database.containers.create({ id: `c${i}`, partitionKey: "/pk" });
    const pages = database.containers.readAll({ maxItemCount: 2 });
    const ids = [];
    while (pages.hasMoreResults()) {
        const { resources } = await pages.fetchNext();
        assert.ok(resources.length <= 2);
        ids.push(...resources.map(container => container.id));
    }
    assert.deepEqual(ids.sort(), ["c0", "c1", "c2", "c3", "c4"]);
    await database.delete();
});

test("containers: definitions", async () => {
    const definition = {
        id: "defined",
        partitionKey: { paths: ["/tenant", "/user/id", "/day"], kind: "MultiHash", version: 2 },
        defaultTtl: 1000,
        uniqueKeyPolicy: { uniqueKeys: [{ paths: ["/email"] }, { paths: ["/a/b", "/c"] }] },
        conflictResolutionPolicy: { mode: "LastWriterWins", conflictResolutionPath: "/_ts" },
        indexingPolicy: {
            automatic: true, indexingMode: "consistent",
            includedPaths: [{ path: "/a/*" }],
            excludedPaths: [{ path: "/*" }, { path: '/"_etag"/?' }],
            compositeIndexes: [[{ path: "/a", order: "ascending" }, { path: "/b", order: "descending" }]],
        },
    };
    const { container } = await database.containers.create(definition);
    const { resource } = await container.read();
    for (const name of ["partitionKey", "defaultTtl", "uniqueKeyPolicy", "conflictResolutionPolicy"])
        assert.deepEqual(resource[name], definition[name], name);
    assert.deepEqual(resource.indexingPolicy.compositeIndexes, definition.indexingPolicy.compositeIndexes);
    assert.deepEqual(resource.indexingPolicy.includedPaths, definition.indexingPolicy.includedPaths);
    await container.delete();
});

test("containers: what cannot be changed", async () => {
    const c = await container();
    const { resource } = await c.read();
    await refused(c.replace({ ...resource, partitionKey: { paths: ["/other"], ...V2 } }), 400);
});

test("containers: If-Match", async () => {
    const c = await container();
    const { resource } = await c.read();
    const { resource: changed } = await c.replace({ ...resource, defaultTtl: 5 });
    assert.notEqual(changed._etag, resource._etag);
    await refused(c.replace({ ...resource, defaultTtl: 6 }, ifMatch(resource._etag)), 412);
    await c.replace({ ...resource, defaultTtl: 6 }, ifMatch(changed._etag));
    await refused(c.delete(ifMatch(changed._etag)), 412);
});

test("containers: manual throughput", async () => {
    const { container } = await database.containers.create({ id: "manual", partitionKey: "/pk", throughput: 400 });
    const { resource, offer } = await container.readOffer();
    assert.equal(resource.content.offerThroughput, 400);
    resource.content.offerThroughput = 1000;
    assert.equal((await offer.replace(resource)).resource.content.offerThroughput, 1000);
    assert.equal((await offer.read()).resource.content.offerThroughput, 1000);
    const all = (await client.offers.readAll().fetchAll()).resources;
    assert.ok(all.some(other => other._rid === resource._rid));
    const parameters = [{ name: "@link", value: resource.resource }];
    const query = { query: "SELECT * FROM root r WHERE r.resource = @link", parameters };
    assert.equal((await client.offers.query(query).fetchAll()).resources.length, 1);
    resource.content.offerThroughput = 123;
    await refused(offer.replace(resource), 400);
    await container.delete();
    await refused(offer.read(), 404);
});

test("containers: autoscale", async () => {
    const { container } = await database.containers.create({ id: "auto", partitionKey: "/pk", maxThroughput: 4000 });
    const { resource, offer } = await container.readOffer();
    assert.equal(resource.content.offerAutopilotSettings.maxThroughput, 4000);
    resource.content.offerAutopilotSettings.maxThroughput = 6000;
    await offer.replace(resource);
    assert.equal((await container.readOffer()).resource.content.offerAutopilotSettings.maxThroughput, 6000);
    await container.delete();
});

test("containers: from manual throughput to autoscale and back", async () => {
    const { container } = await database.containers.create({ id: "both", partitionKey: "/pk", throughput: 2000 });
    const { resource, offer } = await container.readOffer();
    const become = async (header, content) => {
        const initialHeaders = { [header]: "true" };
        return (await offer.replace({ ...resource, content }, { initialHeaders })).resource.content;
    };
    const auto = await become("x-ms-cosmos-migrate-offer-to-autopilot", { offerThroughput: -1 });
    assert.ok(auto.offerAutopilotSettings.maxThroughput >= 2000);
    const back = await become("x-ms-cosmos-migrate-offer-to-manual-throughput",
        { offerAutopilotSettings: { maxThroughput: -1 } });
    assert.ok(back.offerThroughput >= 400);
    assert.equal((await offer.read()).resource.content.offerAutopilotSettings, undefined);
    await container.delete();
});

test("containers: throughput of their database", async () => {
    const { database } = await client.databases.create({ id: "shared", throughput: 400 });
    assert.equal((await (await container({}, database)).readOffer()).resource, undefined);
    const { resource } = await (await container({ throughput: 700 }, database)).readOffer();
    assert.equal(resource.content.offerThroughput, 700);
    await database.delete();
});

test("containers: partition key ranges", async () => {
    const { resources } = await (await container()).readPartitionKeyRanges().fetchAll();
    resources.sort((a, b) => (a.minInclusive < b.minInclusive ? -1 : 1));
    assert.ok(resources.length > 1);
    assert.equal(resources[0].minInclusive, "");
    assert.equal(resources.at(-1).maxExclusive, "FF");
    for (const i of range(resources.length - 1)) assert.equal(resources[i].maxExclusive, resources[i + 1].minInclusive);
});

// ------------------------------------------------------------------------------------------------------------ items

test("items: create, read, replace, upsert, delete", async () => {
    const c = await container();
    const created = await c.items.create(letters);
    assert.equal(created.statusCode, 201);
    assert.deepEqual(withoutSystem(created.resource), letters);
    assert.equal(created.etag, created.resource._etag);
    assert.ok(created.requestCharge > 0);
    const read = await c.item("letters", "a").read();
    assert.equal(read.statusCode, 200);
    assert.deepEqual(read.resource, created.resource);
    assert.ok(Math.abs(read.resource._ts - Date.now() / 1000) < 10);
    const replaced = await c.item("letters", "a").replace({ ...letters, n: 2 });
    assert.equal(replaced.statusCode, 200);
    assert.equal(replaced.resource.n, 2);
    assert.notEqual(replaced.etag, created.etag);
    assert.equal((await c.items.upsert({ id: "letters", pk: "a", n: 3 })).statusCode, 200);
    assert.deepEqual(withoutSystem((await c.item("letters", "a").read()).resource), { id: "letters", pk: "a", n: 3 });
    assert.equal((await c.items.upsert({ id: "new", pk: "a" })).statusCode, 201);
    assert.equal((await c.item("letters", "a").delete()).statusCode, 204);
    await absent(c.item("letters", "a").read());
});

test("items: a made-up id", async () => {
    const { resource } = await (await container()).items.create({ pk: 1 });
    assert.match(resource.id, /^[0-9a-f-]{36}$/);
});

test("items: refusals", async () => {
    const c = await container();
    await c.items.create({ id: "1", pk: "a" });
    const conflict = await refused(c.items.create({ id: "1", pk: "a" }), 409);
    assert.match(conflict.message, /already exists/);
    assert.match(conflict.activityId ?? conflict.headers["x-ms-activity-id"], /^[0-9a-f-]{36}$/);
    await refused(c.item("2", "a").replace({ id: "2", pk: "a" }), 404);
    await refused(c.item("1", "b").delete(), 404);
    await absent(c.item("1", "b").read());
    await refused(c.item("1", "a").replace({ id: "1", pk: "b" }), 400, 1001);
    await refused(c.items.create({ id: "too long".repeat(200), pk: "a" }), 400);
    await refused(c.items.create({ id: "big", pk: "a", text: "x".repeat(2 << 20) }), 413);
    await refused(database.container("none").items.create({ id: "1" }), 404);
    await refused(client.database("none").container("none").item("1", "a").delete(), 404);
});

test("items: ETags", async () => {
    const c = await container();
    const { etag } = await c.items.create({ id: "1", pk: "a", n: 1 });
    const item = c.item("1", "a");
    const not = ifMatch('"other"');
    await refused(item.replace({ id: "1", pk: "a", n: 2 }, not), 412);
    await refused(c.items.upsert({ id: "1", pk: "a", n: 2 }, not), 412);
    await refused(item.patch([{ op: "incr", path: "/n", value: 1 }], not), 412);
    await refused(item.delete(not), 412);
    const { etag: next } = await c.items.upsert({ id: "1", pk: "a", n: 3 }, ifMatch(etag));
    await refused(item.replace({ id: "1", pk: "a", n: 4 }, ifMatch(etag)), 412);
    assert.equal((await item.read(ifNoneMatch(next))).statusCode, 304);
    assert.equal((await item.read(ifNoneMatch(etag))).statusCode, 200);
    await refused(c.items.create({ id: "1", pk: "a" }, ifNoneMatch("*")), 409);
    assert.equal((await item.delete(ifMatch(next))).statusCode, 204);
});

test("items: every type of partition key", async () => {
    const c = await container();
    const keys = ["a", "", "ü😀\"\\", "x".repeat(1500), 0, -0.5, 1e21, 1.7976931348623157e308, 12345678901234567890];
    keys.push(true, false, null);
    for (const [i, pk] of keys.entries()) {
        await c.items.create({ id: "same", pk, i });
        assert.equal((await c.item("same", pk).read()).resource.i, i, JSON.stringify(pk));
        const { resources } = await c.items.query("SELECT VALUE c.i FROM c", { partitionKey: pk }).fetchAll();
        assert.deepEqual(resources, [i], JSON.stringify(pk));
    }
    await c.items.create({ id: "same", i: "undefined" });
    assert.equal((await c.item("same", undefined).read()).resource.i, "undefined");
    assert.equal((await c.items.readAll().fetchAll()).resources.length, keys.length + 1);
    for (const pk of [...keys, undefined]) assert.equal((await c.item("same", pk).delete()).statusCode, 204);
});

test("items: a partition key of version 1", async () => {
    const c = await container({ partitionKey: { paths: ["/a/b"], kind: "Hash", version: 1 } });
    for (const value of ["x", 7, true, null]) {
        await c.items.create({ id: "same", a: { b: value } });
        assert.equal((await c.item("same", value).read()).resource.a.b, value);
    }
    assert.equal((await c.items.query("SELECT * FROM c").fetchAll()).resources.length, 4);
});

test("items: hierarchical partition keys", async () => {
    const c = await container({ partitionKey: { paths: ["/tenant", "/user", "/n"], kind: "MultiHash", version: 2 } });
    for (const tenant of ["t1", "t2"])
        for (const user of ["u1", "u2"])
            for (const n of [1, 2]) await c.items.create({ id: "same", tenant, user, n });
    const item = c.item("same", ["t1", "u2", 2]);
    assert.equal((await item.read()).resource.user, "u2");
    const built = new PartitionKeyBuilder().addValue("t1").addValue("u2").addNullValue().build();
    await c.items.create({ id: "null", tenant: "t1", user: "u2", n: null });
    assert.equal((await c.item("null", built).read()).resource.n, null);
    assert.equal((await item.delete()).statusCode, 204);
    const { resources } = await c.items.query("SELECT * FROM c", { partitionKey: ["t2", "u1", 1] }).fetchAll();
    assert.equal(resources.length, 1);
    const where = { query: "SELECT VALUE c.n FROM c WHERE c.tenant = 't2' AND c.user = 'u2' AND c.n = 2" };
    assert.deepEqual((await c.items.query(where).fetchAll()).resources, [2]);
    await refused(c.item("same", ["t1", "u1"]).delete(), 400);
});

test("items: part of a hierarchical key", async () => {
    const c = await container({ partitionKey: { paths: ["/tenant", "/user"], kind: "MultiHash", version: 2 } });
    for (const i of range(12)) await c.items.create({ id: `${i}`, tenant: `t${i % 3}`, user: `u${i % 4}` });
    const { resources } = await c.items.query("SELECT * FROM c", { partitionKey: ["t1"] }).fetchAll();
    assert.deepEqual(resources.map(item => +item.id).sort((a, b) => a - b), [1, 4, 7, 10]);
});

test("items: odd ids", async () => {
    const c = await container();
    const ids = ["a b", "100%", "%41", "%2F", "a+b", "a&b=c", "ü", "日本語😀", "'\"`", "a;b,c", "<x>", "a@b:c", "..",
        "~!$*()[]{}|^", "x".repeat(255), ".", "a=", "%"];
    const wrong = [];
    for (const id of ids) {
        try {
            await c.items.create({ id, pk: "a" });
            const item = c.item(id, "a");
            assert.equal((await item.read()).resource?.id, id);
            assert.equal((await item.replace({ id, pk: "a", n: 1 })).statusCode, 200);
            assert.equal((await item.patch([{ op: "incr", path: "/n", value: 2 }])).resource.n, 3);
            const parameters = [{ name: "@id", value: id }];
            const query = { query: "SELECT VALUE c.id FROM c WHERE c.id = @id", parameters };
            assert.deepEqual((await c.items.query(query, { partitionKey: "a" }).fetchAll()).resources, [id]);
            assert.equal((await item.delete()).statusCode, 204);
        } catch (error) {
            wrong.push(`${JSON.stringify(id)}: ${error.message}`);
        }
    }
    // "." and ".." never leave the SDK: its URL parser takes them for steps of the path.
    assert.deepEqual(wrong.filter(text => !/^"\.\.?":/.test(text)), []);
});

test("items: patch", async () => {
    const c = await container();
    await c.items.create({ id: "1", pk: "a", n: 1, list: [1, 2, 3], o: { x: 1 }, gone: true });
    const item = c.item("1", "a");
    const { resource, statusCode } = await item.patch([
        { op: "add", path: "/added", value: { deep: [null] } },
        { op: "add", path: "/list/1", value: "between" },
        { op: "add", path: "/list/-", value: "last" },
        { op: "set", path: "/o/y", value: "é" },
        { op: "replace", path: "/o/x", value: 2 },
        { op: "incr", path: "/n", value: 1.5 },
        { op: "remove", path: "/gone" },
        { op: "move", from: "/o/x", path: "/moved" },
    ]);
    assert.equal(statusCode, 200);
    assert.deepEqual(withoutSystem(resource), {
        id: "1", pk: "a", n: 2.5, list: [1, "between", 2, 3, "last"], o: { y: "é" }, added: { deep: [null] }, moved: 2,
    });
    const operations = [{ op: "set", path: "/ok", value: true }];
    await item.patch({ condition: "from c where c.n > 2", operations });
    await refused(item.patch({ condition: "from c where c.n > 3", operations }), 412);
    await refused(item.patch([{ op: "replace", path: "/none", value: 1 }]), 400);
    await refused(item.patch([{ op: "set", path: "/pk", value: "b" }]), 400);
    await refused(item.patch([{ op: "incr", path: "/ok", value: 1 }]), 400);
    await refused(c.item("2", "a").patch([{ op: "set", path: "/x", value: 1 }]), 404);
    assert.equal((await item.read()).resource.ok, true);
});

test("items: unique keys", async () => {
    const c = await container({ uniqueKeyPolicy: { uniqueKeys: [{ paths: ["/email"] }] } });
    await c.items.create({ id: "1", pk: "a", email: "x" });
    await refused(c.items.create({ id: "2", pk: "a", email: "x" }), 409);
    await c.items.create({ id: "2", pk: "b", email: "x" });
    await c.items.create({ id: "3", pk: "a", email: "y" });
    await refused(c.item("3", "a").replace({ id: "3", pk: "a", email: "x" }), 409);
    await c.item("1", "a").delete();
    await c.item("3", "a").replace({ id: "3", pk: "a", email: "x" });
});

test("items: time to live", async () => {
    const c = await container({ defaultTtl: -1 });
    await c.items.create({ id: "short", pk: "a", ttl: 1 });
    await c.items.create({ id: "long", pk: "a" });
    assert.equal((await c.item("short", "a").read()).resource.ttl, 1);
    const deadline = Date.now() + 10000;
    while ((await c.item("short", "a").read()).statusCode === 200)
        assert.ok(Date.now() < deadline, "still there after 10 seconds");
    assert.deepEqual((await c.items.query("SELECT VALUE c.id FROM c").fetchAll()).resources, ["long"]);
    await refused(c.items.create({ id: "x", pk: "a", ttl: 0 }), 400);
});

test("items: session tokens", async () => {
    const c = await container();
    const { headers } = await c.items.create({ id: "1", pk: "a" });
    const token = headers["x-ms-session-token"];
    assert.match(token, /^\d+:-1#\d+$/);
    assert.equal((await c.item("1", "a").read({ sessionToken: token })).statusCode, 200);
    const [name, value] = token.split(":-1#");
    // Two refusals with 404 and sub-status 1002; then the SDK goes on without a token.
    const { statusCode, diagnostics } = await c.item("1", "a").read({ sessionToken: `${name}:-1#${+value + 1000}` });
    assert.equal(statusCode, 200);
    const attempts = diagnostics.clientSideRequestStatistics.retryDiagnostics.failedAttempts;
    assert.ok(attempts.length > 0);
    for (const attempt of attempts) assert.equal(attempt.statusCode, 404);
    const fresh = new CosmosClient({ endpoint, key });
    const item = fresh.database(database.id).container(c.id).item("1", "a");
    assert.equal((await item.read({ sessionToken: token })).statusCode, 200);
    fresh.dispose();
});

test("items: consistency levels", async () => {
    for (const level of ["Eventual", "ConsistentPrefix", "Session", "Strong"]) {
        const other = new CosmosClient({ endpoint, key, consistencyLevel: level });
        const c = other.database("interop js").container((await container()).id);
        await c.items.create({ id: "1", pk: "a" });
        if (level !== "Strong") assert.equal((await c.item("1", "a").read()).resource.id, "1");
        else await refused(c.item("1", "a").read(), 400);
        other.dispose();
    }
});

test("items: all of a partition key are deleted", async () => {
    const c = await container();
    await Promise.all(range(30).map(i => c.items.create({ id: `${i}`, pk: `${i % 3}` })));
    await c.deleteAllItemsForPartitionKey("1");
    const deadline = Date.now() + 10000;
    const left = async () => (await c.items.query("SELECT VALUE c.pk FROM c").fetchAll()).resources;
    while ((await left()).length > 20) assert.ok(Date.now() < deadline, "still there after 10 seconds");
    assert.ok((await left()).every(pk => pk !== "1"));
    assert.equal((await left()).length, 20);
});

test("conflicts: none", async () => {
    const c = await container();
    assert.deepEqual((await c.conflicts.readAll().fetchAll()).resources, []);
    assert.deepEqual((await c.conflicts.query("SELECT * FROM c").fetchAll()).resources, []);
    await refused(c.conflict("none", "a").read(), 404);
    await refused(c.conflict("none", "a").delete(), 404);
});

test("scripts: create, read, list, query, replace, delete", async () => {
    const c = await container();
    const { scripts } = c;
    const kinds = [[scripts.storedProcedures, id => scripts.storedProcedure(id), {}],
        [scripts.triggers, id => scripts.trigger(id), { triggerType: "Pre", triggerOperation: "Create" }],
        [scripts.userDefinedFunctions, id => scripts.userDefinedFunction(id), {}]];
    for (const [all, one, more] of kinds) {
        const { resource, statusCode } = await all.create({ id: "one", body: "function one() {}", ...more });
        assert.equal(statusCode, 201);
        await refused(all.create({ id: "one", body: "function one() {}", ...more }), 409);
        assert.equal((await one("one").read()).resource._rid, resource._rid);
        assert.equal((await one("one").replace({ ...resource, body: "function two() {}" })).statusCode, 200);
        assert.deepEqual((await all.readAll().fetchAll()).resources.map(script => script.body), ["function two() {}"]);
        const query = "SELECT VALUE c.id FROM c WHERE STARTSWITH(c.id, 'o')";
        assert.deepEqual((await all.query(query).fetchAll()).resources, ["one"]);
        assert.equal((await one("one").delete()).statusCode, 204);
        await refused(one("one").read(), 404);
    }
});

test("items: a hundred at a time", async () => {
    const c = await container();
    for (const round of range(5)) {
        const results = await Promise.all(range(100).map(i =>
            c.items.create({ id: `${round}-${i}`, pk: `${i}`, text: "é".repeat(200) })));
        assert.ok(results.every(result => result.statusCode === 201));
    }
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 500);
});

test("items: while the service is busy", async () => {
    const c = await container();
    await emulator("faults", { status: 429, sub_status: 3200, count: 5, retry_after_ms: 1, path: `colls/${c.id}/` });
    const results = await Promise.all(range(10).map(i => c.items.create({ id: `${i}`, pk: `${i}` })));
    assert.ok(results.every(result => result.statusCode === 201));
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 10);
    assert.ok(results.some(result => result.headers["x-ms-throttle-retry-count"] > 0));
});

test("items: a partition is split", async () => {
    const c = await container();
    await Promise.all(range(100).map(i => c.items.create({ id: `${i}`, pk: `${i}` })));
    const pages = c.items.query("SELECT VALUE c.id FROM c", { maxItemCount: 5 });
    const found = [...(await pages.fetchNext()).resources ?? []];
    for (const range of ["0", "1"]) await emulator("split", { database: database.id, container: c.id, range });
    while (pages.hasMoreResults()) found.push(...(await pages.fetchNext()).resources ?? []);
    assert.equal(new Set(found).size, 100);
    assert.equal(found.length, 100);
    for (const i of range(100)) assert.equal((await c.item(`${i}`, `${i}`).read()).statusCode, 200);
});

// ---------------------------------------------------------------------------------------------------------- queries

const people = range(60).map(i => ({
    id: `${i}`, pk: ["red", "green", "blue"][i % 3], n: i, half: i / 2, name: `name ${"abcdefgh"[(i * 7) % 8]}`,
    tags: range(i % 4).map(t => `t${t}`), address: i % 5 ? { city: ["Rome", "Oslo"][i % 2], zip: 1000 + i } : null,
    ...(i % 2 ? { odd: true } : {}),
}));
let crowd;
const withPeople = async () => {
    if (crowd) return crowd;
    crowd = await container();
    await Promise.all(people.map(person => crowd.items.create(person)));
    return crowd;
};
const red = people.filter(person => person.pk === "red");
/** The numbers of the red ones of which that is true. */
const reds = holds => red.filter(holds).map(person => person.n);
const rows = async (query, options) => (await (await withPeople()).items.query(query, options).fetchAll()).resources;
const inRed = query => rows(query, { partitionKey: "red" });
const sorted = list => [...list].sort((a, b) => a - b);

test("queries of one partition", async () => {
    const expected = [
        ["SELECT VALUE c.n FROM c", red.map(p => p.n)],
        ["SELECT c.id, c.n AS number FROM c WHERE c.n = 3", [{ id: "3", number: 3 }]],
        ["SELECT VALUE c.n FROM c WHERE c.n BETWEEN 10 AND 20", [12, 15, 18]],
        ["SELECT VALUE c.n FROM c WHERE c.n IN (3, 4, 6)", [3, 6]],
        ["SELECT VALUE c.n FROM c WHERE NOT (c.n < 50)", [51, 54, 57]],
        ["SELECT VALUE c.n FROM c WHERE IS_DEFINED(c.odd) AND c.n < 10", [3, 9]],
        ["SELECT VALUE c.n FROM c WHERE c.name LIKE 'name a%'", reds(p => p.name.startsWith("name a"))],
        ["SELECT VALUE c.n FROM c WHERE STARTSWITH(c.name, 'name b')", reds(p => p.name.startsWith("name b"))],
        ["SELECT VALUE c.n FROM c WHERE ARRAY_CONTAINS(c.tags, 't2')", reds(p => p.tags.includes("t2"))],
        ["SELECT VALUE c.address.city FROM c WHERE c.n = 3", ["Oslo"]],
        ["SELECT VALUE c[\"address\"][\"zip\"] FROM c WHERE c.n = 3", [1003]],
        ["SELECT VALUE t FROM c JOIN t IN c.tags WHERE c.n = 3", ["t0", "t1", "t2"]],
        ["SELECT TOP 2 VALUE c.n FROM c ORDER BY c.n DESC", [57, 54]],
        ["SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 2 LIMIT 3", [6, 9, 12]],
        ["SELECT VALUE COUNT(1) FROM c", [20]],
        ["SELECT COUNT(1) AS count, SUM(c.n) AS sum, MIN(c.n) AS min, MAX(c.n) AS max, AVG(c.n) AS avg FROM c",
            [{ count: 20, sum: 570, min: 0, max: 57, avg: 28.5 }]],
        ["SELECT DISTINCT VALUE c.pk FROM c", ["red"]],
        ["SELECT VALUE {n: c.n, list: [c.n, c.half]} FROM c WHERE c.n = 3", [{ n: 3, list: [3, 1.5] }]],
        ["SELECT VALUE (c.n = 3 ? 'three' : 'other') FROM c WHERE c.n < 5", ["other", "three"]],
        ["SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.tags) FROM c WHERE c.n = 3", [3]],
        ["SELECT VALUE c.n FROM c WHERE EXISTS (SELECT VALUE t FROM t IN c.tags WHERE t = 't2') AND c.n < 10", [3]],
        ["SELECT VALUE CONCAT(UPPER(c.pk), '-', ToString(c.n)) FROM c WHERE c.n = 3", ["RED-3"]],
        ["SELECT VALUE c.missing ?? 'default' FROM c WHERE c.n = 3", ["default"]],
        ["SELECT VALUE 1 + 2 * 3", [7]],
    ];
    const wrong = [];
    for (const [query, result] of expected) {
        try {
            assert.deepEqual(await inRed(query), result);
        } catch (error) {
            wrong.push(`${query}: ${error.message}`);
        }
    }
    assert.deepEqual(wrong, []);
    const groups = await inRed("SELECT c.address.city, COUNT(1) AS count FROM c GROUP BY c.address.city");
    assert.deepEqual(sorted(groups.map(group => group.count)), [4, 8, 8]);
});

test("queries with parameters", async () => {
    const query = {
        query: "SELECT VALUE c.n FROM c WHERE c.n >= @from AND c.name != @name AND ARRAY_CONTAINS(@ids, c.id)",
        parameters: Object.entries({ "@from": 5, "@name": "it's \"x\"", "@ids": ["3", "6", "9"] })
            .map(([name, value]) => ({ name, value })),
    };
    assert.deepEqual(await inRed(query), [6, 9]);
});

test("queries that name their partition", async () => {
    assert.deepEqual(sorted(await rows("SELECT VALUE c.n FROM c WHERE c.pk = 'red' AND c.n < 7")), [0, 3, 6]);
});

test("queries across partitions", async () => {
    assert.equal((await rows("SELECT * FROM c")).length, 60);
    assert.deepEqual(sorted(await rows("SELECT VALUE c.n FROM c WHERE c.n < 7")), [0, 1, 2, 3, 4, 5, 6]);
    assert.equal((await rows("SELECT * FROM c", { maxDegreeOfParallelism: 4, bufferItems: true })).length, 60);
    const { requestCharge } = await (await withPeople()).items.query("SELECT * FROM c").fetchAll();
    assert.ok(requestCharge > 0);
});

test("pages of one partition", async () => {
    const c = await withPeople();
    const pages = c.items.query("SELECT VALUE c.n FROM c", { partitionKey: "red", maxItemCount: 7 });
    const found = [];
    while (pages.hasMoreResults()) {
        const { resources } = await pages.fetchNext();
        assert.ok((resources ?? []).length <= 7);
        found.push(...(resources ?? []));
    }
    assert.deepEqual(found, red.map(p => p.n));
});

test("pages with continuation tokens", async () => {
    const c = await withPeople();
    for (const query of ["SELECT VALUE c.n FROM c", "SELECT VALUE c.n FROM c ORDER BY c.n DESC"]) {
        const found = [];
        let continuationToken, pages = 0;
        do {
            const options = { partitionKey: "red", maxItemCount: 6, continuationToken };
            const page = await c.items.query(query, options).fetchNext();
            found.push(...(page.resources ?? []));
            continuationToken = page.continuationToken;
            assert.ok(++pages < 20);
        } while (continuationToken);
        assert.deepEqual(sorted(found), red.map(p => p.n));
        assert.ok(pages >= 4);
    }
    const nonsense = { partitionKey: "red", continuationToken: "nonsense" };
    await refused(c.items.query("SELECT VALUE 1 FROM c", nonsense).fetchNext(), 400);
});

test("reading all, in pages", async () => {
    const found = [];
    for await (const { resources } of (await withPeople()).items.readAll({ maxItemCount: 7 }).getAsyncIterator()) {
        assert.ok(resources.length <= 7);
        found.push(...resources);
    }
    assert.equal(new Set(found.map(item => item.id)).size, 60);
});

test("large pages", async () => {
    const c = await container();
    await Promise.all(range(12).map(i => c.items.create({ id: `${i}`, pk: "a", text: "y".repeat(900000) })));
    const { resources } = await c.items.query("SELECT * FROM c", { partitionKey: "a", maxItemCount: -1 }).fetchAll();
    assert.equal(resources.length, 12);
});

test("errors of queries", async () => {
    const syntax = await refused(inRed("SELECT * FORM c"), 400);
    assert.match(JSON.stringify(syntax.body ?? syntax.message), /Syntax error, incorrect syntax near/);
    await refused(inRed("SELECT VALUE NOSUCH(1) FROM c"), 400);
    await refused(inRed("SELECT * FROM c WHERE d.x = 1"), 400);
    await refused(rows("SELECT *"), 400);
});

const colours = ["blue", "green", "red"];
for (const [name, query, result] of [
    ["ORDER BY", "SELECT VALUE c.n FROM c ORDER BY c.n DESC", people.map(p => p.n).reverse()],
    ["ORDER BY and TOP", "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n", [0, 1, 2]],
    ["TOP", "SELECT TOP 5 VALUE 1 FROM c", [1, 1, 1, 1, 1]],
    ["OFFSET and LIMIT", "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 10 LIMIT 2", [10, 11]],
    ["COUNT", "SELECT VALUE COUNT(1) FROM c", [60]],
    ["AVG", "SELECT VALUE AVG(c.n) FROM c", [29.5]],
    ["GROUP BY", "SELECT c.pk, COUNT(1) AS count FROM c GROUP BY c.pk", colours.map(pk => ({ pk, count: 20 }))],
    ["DISTINCT", "SELECT DISTINCT VALUE c.pk FROM c", colours],
]) {
    test(`${name} across partitions`, async () => {
        const found = await rows(query);
        if (name === "GROUP BY" || name === "DISTINCT") found.sort((a, b) => ((a.pk ?? a) < (b.pk ?? b) ? -1 : 1));
        assert.deepEqual(found, result);
    });
}

const noRefresh = "the SDK asks for the range that is gone again and again, and never which ones there are";
limit("ORDER BY across partitions that are split meanwhile", noRefresh, async () => {
    const c = await container();
    await Promise.all(range(80).map(i => c.items.create({ id: `${i}`, pk: `${i % 40}`, n: (i * 7) % 80 })));
    const pages = c.items.query("SELECT VALUE c.n FROM c ORDER BY c.n", { maxItemCount: 3 });
    const found = [];
    for (let page = 0; pages.hasMoreResults() && page < 50; page++) {
        found.push(...(await pages.fetchNext()).resources ?? []);
        if (page === 3)
            for (const range of ["1", "2"]) await emulator("split", { database: database.id, container: c.id, range });
    }
    assert.deepEqual(found, range(80));
});

const inPagesOf = async (maxItemCount, query, expected) => {
    const found = [];
    let continuationToken, pages = 0;
    do {
        const options = { maxItemCount, enableQueryControl: true, forceQueryPlan: true, continuationToken };
        const page = await (await withPeople()).items.query(query, options).fetchNext();
        found.push(...page.resources ?? []);
        continuationToken = page.continuationToken;
        assert.ok(++pages < 100, query);
    } while (continuationToken);
    assert.deepEqual(query.includes("ORDER") ? found : sorted(found), expected, query);
    assert.ok(pages >= expected.length / maxItemCount, `${query}: ${pages} pages`);
};

test("continuation tokens across partitions", async () => {
    await inPagesOf(7, "SELECT VALUE c.n FROM c", people.map(p => p.n));
    await inPagesOf(9, "SELECT VALUE c.n FROM c WHERE c.n >= 20", range(40).map(n => n + 20));
});

const tiedToText = "the SDK goes on with another filter beside the continuation, which is refused";
limit("continuation tokens across partitions in order", tiedToText, async () => {
    for (const size of [1, 3, 7]) {
        await inPagesOf(size, "SELECT VALUE c.n FROM c ORDER BY c.n DESC", people.map(p => p.n).reverse());
        await inPagesOf(size, "SELECT TOP 40 VALUE c.n FROM c ORDER BY c.n", range(40));
        await inPagesOf(size, "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 10 LIMIT 40", range(40).map(n => n + 10));
    }
});

// -------------------------------------------------------------------------------------------------- the change feed

/** Reads on until there is nothing new. */
const drain = async changes => {
    const found = [];
    for (let empty = 0; empty < 2;) {
        const { result, statusCode } = await changes.readNext();
        if (statusCode === 304) empty++;
        else found.push(...result);
    }
    return found;
};
const changesOf = (c, changeFeedStartFrom, options) =>
    c.items.getChangeFeedIterator({ changeFeedStartFrom, maxItemCount: 5, ...options });
const numbers = list => sorted(list.map(item => +item.id));
const withNumbers = async count => {
    const c = await container();
    await Promise.all(range(count).map(i => c.items.create({ id: `${i}`, pk: `p${i % 9}` })));
    return c;
};

test("the change feed: a whole container", async () => {
    const c = await withNumbers(60);
    const changes = changesOf(c, ChangeFeedStartFrom.Beginning());
    assert.deepEqual(numbers(await drain(changes)), range(60));
    await c.items.upsert({ id: "7", pk: "p7", changed: true });
    await c.items.create({ id: "60", pk: "new" });
    await c.item("8", "p8").delete();
    assert.deepEqual(numbers(await drain(changes)), [7, 60]);
    for await (const { statusCode } of changes.getAsyncIterator()) {
        assert.equal(statusCode, 304);
        break;
    }
});

test("the change feed: one partition key", async () => {
    const c = await withNumbers(30);
    const found = await drain(changesOf(c, ChangeFeedStartFrom.Beginning("p4"), { maxItemCount: 2 }));
    assert.deepEqual(numbers(found), [4, 13, 22]);
    for (const i of [22, 4, 13]) await c.items.upsert({ id: `${i}`, pk: "p4" });
    const order = await drain(changesOf(c, ChangeFeedStartFrom.Beginning("p4"), { maxItemCount: 1 }));
    assert.deepEqual(order.map(item => item.id), ["22", "4", "13"]);
});

test("the change feed: from now, from a time, from a continuation", async () => {
    const c = await withNumbers(20);
    const now = changesOf(c, ChangeFeedStartFrom.Now());
    assert.deepEqual(await drain(now), []);
    const past = changesOf(c, ChangeFeedStartFrom.Time(new Date(Date.now() - 3600000)));
    assert.deepEqual(numbers(await drain(past)), range(20));
    const future = changesOf(c, ChangeFeedStartFrom.Time(new Date(Date.now() + 3600000)));
    assert.deepEqual(await drain(future), []);
    const { continuationToken } = await now.readNext();
    await c.items.create({ id: "20", pk: "x" });
    assert.deepEqual(numbers(await drain(now)), [20]);
    assert.deepEqual(numbers(await drain(changesOf(c, ChangeFeedStartFrom.Continuation(continuationToken)))), [20]);
});

test("the change feed: feed ranges, and a split", async () => {
    const c = await withNumbers(60);
    const found = [], saved = [];
    for (const feed of await c.getFeedRanges()) {
        const changes = changesOf(c, ChangeFeedStartFrom.Beginning(feed));
        const { result, continuationToken } = await changes.readNext();
        found.push(...result ?? []);
        saved.push(continuationToken);
    }
    for (const range of ["0", "3"]) await emulator("split", { database: database.id, container: c.id, range });
    for (const token of saved) found.push(...await drain(changesOf(c, ChangeFeedStartFrom.Continuation(token))));
    assert.deepEqual(numbers(found), range(60));
});

test("the change feed: all versions and deletes", async () => {
    const changeFeedPolicy = new ChangeFeedPolicy(ChangeFeedRetentionTimeSpan.fromMinutes(5));
    const c = await container({ changeFeedPolicy });
    await c.items.create({ id: "1", pk: "a", n: 0 });
    const options = { changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes };
    const changes = changesOf(c, ChangeFeedStartFrom.Now("a"), options);
    assert.deepEqual(await drain(changes), []);
    await c.items.create({ id: "2", pk: "a", n: 1 });
    await c.item("2", "a").replace({ id: "2", pk: "a", n: 2 });
    await c.item("1", "a").delete();
    await c.items.create({ id: "elsewhere", pk: "b" });
    const found = await drain(changes);
    assert.deepEqual(found.map(change => change.metadata.operationType), ["create", "replace", "delete"]);
    assert.deepEqual(found.slice(0, 2).map(change => change.current.n), [1, 2]);
    const lsns = found.map(change => change.metadata.lsn);
    assert.deepEqual(lsns, sorted(lsns));
    const plain = await container();
    await refused(changesOf(plain, ChangeFeedStartFrom.Now(), options).readNext(), 400);
});

// -------------------------------------------------------------------------------------------------- users and tokens

test("users: create, read, list, query, replace, upsert, delete", async () => {
    const { database } = await client.databases.create({ id: "peopled" });
    const { resource, statusCode, user } = await database.users.create({ id: "ann" });
    assert.equal(statusCode, 201);
    await refused(database.users.create({ id: "ann" }), 409);
    assert.equal((await user.read()).resource._rid, resource._rid);
    assert.equal((await database.users.upsert({ id: "bob" })).statusCode, 201);
    assert.equal((await database.users.upsert({ id: "bob" })).statusCode, 200);
    const ids = async () => (await database.users.readAll().fetchAll()).resources.map(user => user.id).sort();
    assert.deepEqual(await ids(), ["ann", "bob"]);
    const query = { query: "SELECT VALUE u.id FROM u WHERE u.id > @id", parameters: [{ name: "@id", value: "ann" }] };
    assert.deepEqual((await database.users.query(query).fetchAll()).resources, ["bob"]);
    assert.equal((await user.replace({ id: "amy" })).resource._rid, resource._rid);
    assert.deepEqual(await ids(), ["amy", "bob"]);
    await refused(database.user("ann").read(), 404);
    assert.equal((await database.user("amy").delete()).statusCode, 204);
    await refused(database.user("amy").delete(), 404);
    await database.delete();
});

const withUser = async (id, use) => {
    const c = await container();
    await c.items.create({ id: "1", pk: "a" });
    const { user } = await database.users.create({ id });
    await use(c, user, (await c.read()).resource._self);
    await user.delete();
};

test("permissions: create, read, list, query, replace, upsert, delete", () =>
    withUser("ann", async (c, user, resource) => {
        const reads = { id: "reads", permissionMode: PermissionMode.Read, resource };
        const created = await user.permissions.create(reads);
        assert.equal(created.statusCode, 201);
        await refused(user.permissions.create(reads), 409);
        const permission = user.permission("reads");
        const read = (await permission.read()).resource;
        assert.equal(read.permissionMode, PermissionMode.Read);
        assert.equal(read.resource, resource);
        const changed = await permission.replace({ ...reads, permissionMode: PermissionMode.All });
        assert.equal(changed.resource.permissionMode, PermissionMode.All);
        const upserted = { id: "writes", permissionMode: PermissionMode.All, resource: (await c.item("1", "a").read())
            .resource._self };
        assert.equal((await user.permissions.upsert(upserted)).statusCode, 201);
        assert.equal((await user.permissions.upsert({ ...upserted, permissionMode: "Read" })).statusCode, 200);
        assert.equal((await user.permissions.readAll().fetchAll()).resources.length, 2);
        const query = "SELECT VALUE p.id FROM p WHERE p.permissionMode = 'Read'";
        assert.deepEqual((await user.permissions.query(query).fetchAll()).resources, ["writes"]);
        assert.equal((await permission.delete()).statusCode, 204);
        await refused(permission.read(), 404);
    }));

test("a client with a resource token", () => withUser("bea", async (c, user, resource) => {
    /** The container as one sees it who only has a token of this permission. */
    const seenBy = async (permission, use) => {
        const { resource: made } = await user.permissions.create({ resource, ...permission });
        const guest = new CosmosClient({ endpoint, resourceTokens: { [c.url]: made._token } });
        await use(guest.database(database.id).container(c.id));
        guest.dispose();
    };
    await seenBy({ id: "reads", permissionMode: PermissionMode.Read }, async seen => {
        assert.equal((await seen.item("1", "a").read()).resource.id, "1");
        assert.equal((await seen.items.query("SELECT * FROM c", { partitionKey: "a" }).fetchAll()).resources.length, 1);
        await refused(seen.items.create({ id: "2", pk: "a" }), 403);
        await refused(seen.item("1", "a").delete(), 403);
        await refused(seen.delete(), 403);
    });
    await seenBy({ id: "all", permissionMode: PermissionMode.All }, async seen => {
        assert.equal((await seen.items.create({ id: "all", pk: "c" })).statusCode, 201);
        assert.equal((await seen.item("all", "c").delete()).statusCode, 204);
        const batch = [{ operationType: BulkOperationType.Create, resourceBody: { id: "batch", pk: "a" } }];
        assert.equal((await seen.items.batch(batch, "a")).code, 200);
        const found = await seen.items.executeBulkOperations(bulkOf("Delete", ["batch"], () => "a"));
        assert.deepEqual(found.map(one => one.response?.statusCode), [204]);
    });
    await seenBy({ id: "one key", permissionMode: PermissionMode.All, resourcePartitionKey: ["a"] }, async seen => {
        assert.equal((await seen.items.create({ id: "2", pk: "a" })).statusCode, 201);
        await refused(seen.items.create({ id: "2", pk: "b" }), 403);
    });
}));

test("a client with a feed of permissions", () => withUser("cid", async (c, user, resource) => {
    await user.permissions.create({ id: "reads", permissionMode: PermissionMode.Read, resource });
    const permissionFeed = (await user.permissions.readAll().fetchAll()).resources;
    const tokenOf = { [c.url]: permissionFeed[0]._token };
    const providers = [{ tokenProvider: async () => tokenOf[c.url] }, { resourceTokens: tokenOf }];
    for (const provider of providers) {
        const guest = new CosmosClient({ endpoint, ...provider });
        const seen = guest.database(database.id).container(c.id);
        assert.equal((await seen.item("1", "a").read()).statusCode, 200);
        await refused(seen.item("1", "a").replace({ id: "1", pk: "a", changed: true }), 403);
        guest.dispose();
    }
    const liar = new CosmosClient({ endpoint, tokenProvider: async () => tokenOf[c.url].replace("sig=", "sig=x") });
    await refused(liar.database(database.id).container(c.id).item("1", "a").read(), 401);
    liar.dispose();
}));

test("Entra tokens", async () => {
    const endpoint = process.env.AIOCOSMOS_EMULATOR_TLS;
    const owner = new CosmosClient({ endpoint, key });
    const { database } = await owner.databases.createIfNotExists({ id: "entra" });
    const c = await container({}, database);
    const token = process.env.AIOCOSMOS_EMULATOR_TOKEN;
    const aadCredentials = { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3600000 }) };
    const guest = new CosmosClient({ endpoint, aadCredentials });
    const seen = guest.database(database.id).container(c.id);
    assert.equal((await seen.items.create({ id: "1", pk: "a" })).statusCode, 201);
    assert.equal((await seen.item("1", "a").read()).resource.id, "1");
    await refused(guest.databases.create({ id: "not with this" }), 403, 5300);
    await database.delete();
    guest.dispose();
    owner.dispose();
});

// ------------------------------------------------------------------------------------------------- batches and bulks

const { Create, Upsert, Read, Replace, Delete, Patch } = BulkOperationType;
const codes = batch => batch.result.map(one => one.statusCode);

test("transactional batches: every kind of operation", async () => {
    const c = await container();
    await Promise.all(["read", "replace", "delete", "patch"].map(id => c.items.create({ id, pk: "a", n: 1 })));
    const batch = await c.items.batch([
        { operationType: Create, resourceBody: { id: "create", pk: "a" } },
        { operationType: Upsert, resourceBody: { id: "upsert", pk: "a" } },
        { operationType: Read, id: "read" },
        { operationType: Replace, id: "replace", resourceBody: { id: "replace", pk: "a", n: 2 } },
        { operationType: Delete, id: "delete" },
        { operationType: Patch, id: "patch", resourceBody: { operations: [{ op: "incr", path: "/n", value: 2 }] } },
        { operationType: Read, id: "create" },
    ], "a");
    assert.equal(batch.code, 200);
    assert.deepEqual(codes(batch), [201, 201, 200, 200, 204, 200, 200]);
    assert.deepEqual([2, 3, 5].map(i => batch.result[i].resourceBody.n), [1, 2, 3]);
    assert.ok(batch.result.every(one => one.requestCharge > 0));
    assert.equal(batch.result[0].eTag, batch.result[6].resourceBody._etag);
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 5);
});

test("transactional batches: all or nothing", async () => {
    const c = await container();
    const { etag } = await c.items.create({ id: "there", pk: "a", n: 1 });
    const create = { operationType: Create, resourceBody: { id: "new", pk: "a" } };
    const replace = ifMatch => ({ operationType: Replace, id: "there", ifMatch,
        resourceBody: { id: "there", pk: "a", n: 2 } });
    const failing = [
        [{ operationType: Create, resourceBody: { id: "there", pk: "a" } }, 409],
        [{ operationType: Read, id: "none" }, 404],
        [replace('"other"'), 412],
        [{ operationType: Patch, id: "there", resourceBody: { operations: [{ op: "incr", path: "/n", value: 1 }],
            condition: "from c where c.n > 1" } }, 412],
    ];
    for (const [operation, status] of failing) {
        const batch = await c.items.batch([create, operation, create], "a");
        assert.equal(batch.code, 207);
        assert.deepEqual(codes(batch), [424, status, 424]);
        assert.deepEqual((await c.items.readAll().fetchAll()).resources.map(item => item.id), ["there"]);
    }
    assert.deepEqual(codes(await c.items.batch([replace(etag), create], "a")), [200, 201]);
});

test("transactional batches: keys of every type, a hundred operations", async () => {
    const c = await container();
    for (const key of ["a", "ü", 1.5, true, null]) {
        const operations = range(100).map(i => ({ operationType: Create, resourceBody: { id: `${i}`, pk: key } }));
        assert.deepEqual(codes(await c.items.batch(operations, key)), Array(100).fill(201));
    }
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 500);
    const hierarchical = await container({ partitionKey: { paths: ["/a", "/b"], kind: "MultiHash", version: 2 } });
    const two = [{ operationType: Create, resourceBody: { id: "1", a: "x", b: "y" } }];
    assert.deepEqual(codes(await hierarchical.items.batch(two, ["x", "y"])), [201]);
    const other = [{ operationType: Create, resourceBody: { id: "other", pk: "b" } }];
    assert.deepEqual(codes(await c.items.batch(other, "a")), [400]);
});

/** Operations of a bulk, of a kind, on items of these ids, each with a key of its own unless keyOf says which. */
const bulkOf = (operationType, ids, keyOf = id => `key ${id}`, body = {}) => ids.map(id => ({
    operationType, partitionKey: keyOf(id),
    ...(operationType === Create || operationType === Upsert ? {} : { id }),
    ...(operationType === Read || operationType === Delete ? {}
        : { resourceBody: operationType === Patch ? body : { id, pk: keyOf(id), ...body } }),
}));
const outcomes = results => results.map(one => one.response?.statusCode ?? one.error.code);
const names = (count, prefix = "") => range(count).map(i => `${prefix}${i}`);

test("bulks: every kind of operation", async () => {
    const c = await container();
    const ids = names(250);
    const run = async (...args) => outcomes(await c.items.executeBulkOperations(bulkOf(...args)));
    assert.deepEqual(await run(Create, ids, undefined, { n: 1 }), Array(250).fill(201));
    const mixed = [
        ...bulkOf(Create, ["0"]),
        ...bulkOf(Upsert, ["1", "new"]),
        ...bulkOf(Read, ["2", "none"]),
        ...bulkOf(Replace, ["3", "none"], undefined, { n: 2 }),
        ...bulkOf(Delete, ["4", "none"]),
        ...bulkOf(Patch, ["5"], undefined, { operations: [{ op: "incr", path: "/n", value: 5 }] }),
        ...bulkOf(Patch, ["6"], undefined, { operations: [{ op: "set", path: "/n", value: 0 }],
            condition: "from c where c.n > 1" }),
        { ...bulkOf(Delete, ["7"])[0], ifMatch: '"other"' },
    ];
    const results = await c.items.executeBulkOperations(mixed);
    assert.deepEqual(outcomes(results), [409, 200, 201, 200, 404, 200, 404, 204, 404, 200, 412, 412]);
    assert.equal(results[3].response.resourceBody.n, 1);
    assert.equal(results[9].response.resourceBody.n, 6);
    assert.ok(results.every(one => one.response || one.error.message));
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 250);
});

test("bulks: throttled items are sent again", async () => {
    const c = await container();
    const rule = { status: 429, sub_status: 3200, count: 30, retry_after_ms: 1, path: `colls/${c.id}/` };
    await emulator("faults", { kind: "batched_create_item", ...rule });
    const results = await c.items.executeBulkOperations(bulkOf(Create, names(200)));
    assert.deepEqual(outcomes(results), Array(200).fill(201));
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 200);
});

test("bulks: over a split", async () => {
    const c = await container();
    assert.deepEqual(outcomes(await c.items.executeBulkOperations(bulkOf(Create, names(50, "before ")))),
        Array(50).fill(201));
    for (const range of ["0", "1", "2"]) await emulator("split", { database: database.id, container: c.id, range });
    const results = await c.items.executeBulkOperations(bulkOf(Create, names(150, "after ")));
    assert.deepEqual(outcomes(results), Array(150).fill(201));
    assert.equal((await c.items.readAll().fetchAll()).resources.length, 200);
});

test("bulks: large items, keys of every type", async () => {
    const c = await container();
    const large = bulkOf(Create, names(30), undefined, { text: "x".repeat(100000) });
    assert.deepEqual(outcomes(await c.items.executeBulkOperations(large)), Array(30).fill(201));
    const keys = ["a", "", "ü😀", 0, -0.5, 1e21, true, false, null];
    const keyed = keys.map(partitionKey =>
        ({ operationType: Create, partitionKey, resourceBody: { id: "same", pk: partitionKey } }));
    assert.deepEqual(outcomes(await c.items.executeBulkOperations(keyed)), keys.map(() => 201));
    for (const key of keys) assert.equal((await c.item("same", key).read()).resource.pk, key);
});

test("bulks: the older function", async () => {
    const c = await container();
    const found = await c.items.bulk([...bulkOf(Create, names(60)), ...bulkOf(Create, ["0"]), ...bulkOf(Read, ["1"])]);
    assert.deepEqual(found.map(one => one.statusCode), [...Array(60).fill(201), 409, 200]);
    assert.equal(found.at(-1).resourceBody.id, "1");
});

// ----------------------------------------------------------------------------------------------------------- limits

limit("running stored procedures", "JavaScript is kept, but not run", async () => {
    const c = await container();
    const body = "function () { getContext().getResponse().setBody(1); }";
    await c.scripts.storedProcedures.create({ id: "one", body });
    assert.equal((await c.scripts.storedProcedure("one").execute("a")).resource, 1);
});

// -------------------------------------------------------------------------------------------------------------- run

const wanted = process.argv.slice(2);
let passed = 0, failed = 0, skipped = 0;
for (const { name, run, why } of tests) {
    if (wanted.length && !wanted.some(part => name.includes(part))) continue;
    const error = await run().then(() => null, error => error);
    if (!error) {
        passed++;
        if (why) console.log(`js: ${name}: works now, though a limit is noted: ${why}`);
    } else if (why) {
        skipped++;
        console.log(`js: skipped: ${name}: ${why}`);
        if (wanted.length) console.log(error);
    } else {
        failed++;
        console.log(`js: ${name} failed:`, error);
    }
}
await database.delete();
client.dispose();
console.log(`js: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed ? 1 : 0;
