#!/usr/bin/env node
// The emulator's page as a person uses it, in a browser, CHROMIUM. BUILD is where the emulator is, EXPLORER_JS the
// directory with what drives the browser. Arguments: only the tests whose names contain one of them.

import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { spawn } from "node:child_process";
import http from "node:http";
import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.env.EXPLORER_JS}/`)("playwright-core");

const tests = [];
const test = (name, run) => tests.push({ name, run });

/** Of what happens within a second where nobody else needs the processor. */
const PATIENCE_MS = 30000;

/** An emulator, and what it says its address is. */
const emulators = [];
const start = async (...options) => {
    const emulator = spawn(`${process.env.BUILD}/aiocosmos-emulator`, ["--port", "0", ...options]);
    emulators.push(emulator);
    const ready = await new Promise(resolve => emulator.stdout.once("data", resolve));
    return { emulator, url: String(ready).split(" ")[1].trim() };
};

const { url } = await start();
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--disable-gpu", "--renderer-process-limit=2", ...process.getuid() === 0 ? ["--no-sandbox"] : []],
});
process.on("exit", () => emulators.forEach(emulator => emulator.kill()));

/** A page of its own, at a place of the explorer. What it complains of on its console is a failure. */
const complaints = [];
const context = await browser.newContext();
const opened = new AsyncLocalStorage();                    // pages of the test at hand
const open = async (place = "/", { at = url, size = [1280, 800], ...more } = {}) => {
    const page = await context.newPage();
    opened.getStore().push(page);
    await page.setViewportSize({ width: size[0], height: size[1] });
    await page.emulateMedia(more);
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", error => complaints.push(error.stack));
    page.on("console", message => {
        const text = message.text();
        if (message.type() === "error" && !/^Failed to load resource/.test(text)) complaints.push(text);
    });
    await page.goto(`${at}_emulator/explorer#${place}`);
    return page;
};

const address = (...names) => "/" + names.map(encodeURIComponent).join("/");

/** A request by the page's own means. */
const ask = (page, verb, names, options) =>
    page.evaluate(async ([verb, names, options]) => {
        const { status, text } = await ask(verb, names, options);
        return { status, text };
    }, [verb, names, options]);

let made = 0;
/** A container with these documents, texts, by /pk, in a database of the tests. */
const container = async (page, texts = [], definition = {}) => {
    const name = `c${++made}`;
    await page.locator("h1").waitFor({ state: "attached" });
    await ask(page, "POST", ["dbs"], { body: '{"id":"tests"}' }).catch(() => {});
    const partitionKey = { paths: ["/pk"], kind: "Hash", version: 2 };
    const body = JSON.stringify({ id: name, partitionKey, ...definition });
    await ask(page, "POST", ["dbs", "tests", "colls"], { body });
    await put(page, name, texts);
    return name;
};

const put = (page, name, texts) => page.evaluate(async ([name, texts]) => {
    for (const body of texts) {
        const headers = { "x-ms-documentdb-is-upsert": "True", "x-ms-documentdb-partitionkey": keyOf(body, ["/pk"]) };
        await ask("POST", ["dbs", "tests", "colls", name, "docs"], { body, headers });
    }
}, [name, texts]);

const stored = async (page, name, pk, id) =>
    (await ask(page, "GET", ["dbs", "tests", "colls", name, "docs", id],
        { headers: { "x-ms-documentdb-partitionkey": JSON.stringify([pk]) } })).text;

const count = (amount, make) => [...Array(amount).keys()].map(make);
const numbered = amount => count(amount, i => `{"id":"i${i}","pk":"k${i % 7}","n":${i}}`);

/** Until it is so there. The page's own policy forbids what Playwright has for that. */
const until = async (page, condition) => {
    for (const end = Date.now() + PATIENCE_MS; !await page.evaluate(condition);) {
        assert.ok(Date.now() < end, `never: ${condition}`);
        await new Promise(resolve => setTimeout(resolve, 20));
    }
};

const editor = page => page.getByLabel("The item, as JSON");
const alert = page => page.getByRole("alert");

test("an empty emulator says how to begin, and a sample begins it", async () => {
    const { url: at } = await start(), page = await open("/", { at });
    await page.getByText("The emulator is empty").waitFor();
    await page.getByRole("button", { name: "Try it with a sample" }).click();
    await page.getByText("1\u201360 of 60").waitFor();
    assert.equal(await page.locator("tbody tr").count(), 60);
    assert.equal(await page.title(), "players \u2013 emulator");
});

test("database, container and item are made by keyboard alone", async () => {
    const page = await open();
    await page.locator("h1").waitFor();
    await page.keyboard.press("g");
    await page.getByRole("button", { name: "New database" }).first().press("Enter");
    await page.keyboard.type("by keys");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "by keys" }).waitFor();
    await page.getByRole("button", { name: "New container" }).press("Enter");
    await page.keyboard.type("small");
    await page.keyboard.press("Tab");
    await page.keyboard.type("/a/b, /c");
    await page.keyboard.press("Enter");
    await page.getByText("No items yet").waitFor();
    await page.keyboard.press("n");
    await until(page, () => document.activeElement.matches(".editor textarea"));
    assert.deepEqual(JSON.parse(await editor(page).inputValue()), { id: "", a: { b: "" }, c: "" });
    await page.keyboard.type("one");
    await page.keyboard.press("Control+s");
    await page.getByText("1\u20131 of 1").waitFor();
    await page.keyboard.press("Escape");
    await until(page, () => location.hash.endsWith("/items"));
});

test("documents keep every byte", async () => {
    const page = await open();
    const body = '"list": [ ],"big":12345678901234567890,"e":1.50e+3,"s":"\\u00e9\\/ \\"","deep":{"a":[1,{"b":null}]}';
    const text = `{"id":"x","pk":"p",${body}}`, name = await container(page, [text]);
    const before = await stored(page, name, "p", "x");
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "items", '["p"]', "x")}`);
    await editor(page).waitFor();
    assert.match(await editor(page).inputValue(), /\n {2}"big": 12345678901234567890,\n {2}"e": 1\.50e\+3,/);
    await page.getByRole("button", { name: "Exact bytes" }).click();
    assert.ok((await editor(page).inputValue()).startsWith(`{"id":"x","pk":"p",${body}`));
    await page.getByRole("button", { name: "Lay out" }).click();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(/^Saved/).waitFor();
    assert.ok(before.includes(body));
    assert.ok((await stored(page, name, "p", "x")).includes(body));
});

test("what was typed is not lost by looking elsewhere", async () => {
    const page = await open();
    const name = await container(page, ['{"id":"x","pk":"p","n":1}']);
    const item = `${url}_emulator/explorer#${address("db", "tests", name, "items", '["p"]', "x")}`;
    await page.goto(item);
    await editor(page).fill('{"id":"x","pk":"p","n":2}');
    await page.keyboard.press("Escape");
    await until(page, () => location.hash.endsWith("/items"));
    await put(page, name, ['{"id":"x","pk":"p","n":3}']);
    await page.goto(item);
    await page.getByText("Not saved yet").waitFor();
    assert.equal(await editor(page).inputValue(), '{"id":"x","pk":"p","n":2}');
    await page.getByRole("button", { name: "Save" }).click();
    await alert(page).getByText("Somebody else was faster").waitFor();
    await page.getByRole("button", { name: "See theirs" }).click();
    await until(page, () => document.querySelector(".editor textarea").value.includes('"n": 3'));
    await page.keyboard.press("Escape");
    await page.goto(item);
    await editor(page).waitFor();
    assert.equal(await page.getByText("Not saved yet").count(), 0);
});

test("names and keys of any letters", async () => {
    const page = await open(), name = "\u00fc +%25 \ud83d\ude00";
    await page.locator("h1").waitFor();
    await ask(page, "POST", ["dbs"], { body: JSON.stringify({ id: name }) });
    const partitionKey = { paths: ['/"a/b"/c', "/d"], kind: "MultiHash", version: 2 };
    await ask(page, "POST", ["dbs", name, "colls"], { body: JSON.stringify({ id: name, partitionKey }) });
    await page.goto(`${url}_emulator/explorer#${address("db", name, name, "items", "new")}`);
    await editor(page).fill(JSON.stringify({ id: name, "a/b": { c: name } }));
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByText("1\u20131 of 1").waitFor();
    await page.getByRole("heading", { level: 2, name }).waitFor();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("No items yet").waitFor();
});

test("what is not JSON is said, with its place", async () => {
    const page = await open();
    const name = await container(page, ['{"id":"x","pk":"p"}']);
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "items", '["p"]', "x")}`);
    await editor(page).fill('{"id":"x" "pk":"p"}');
    await page.getByRole("button", { name: "Save" }).click();
    await alert(page).getByText("This is not JSON yet").waitFor();
    assert.equal(await editor(page).evaluate(area => area.selectionStart), 10);
    await editor(page).fill("[1]");
    await page.keyboard.press("Control+s");
    await alert(page).getByText("an item is an object").waitFor();
});

test("a change by somebody else is not overwritten unasked", async () => {
    const page = await open();
    const name = await container(page, ['{"id":"x","pk":"p","n":1}']);
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "items", '["p"]', "x")}`);
    await editor(page).waitFor();
    await put(page, name, ['{"id":"x","pk":"p","n":2}']);
    await editor(page).fill('{"id":"x","pk":"p","n":3}');
    await page.getByRole("button", { name: "Save" }).click();
    await alert(page).getByText("Somebody else was faster").waitFor();
    assert.match(await stored(page, name, "p", "x"), /"n":2/);
    await page.getByRole("button", { name: "See theirs" }).click();
    await until(page, () => document.querySelector(".editor textarea").value.includes('"n": 2'));
    await put(page, name, ['{"id":"x","pk":"p","n":4}']);
    await editor(page).fill('{"id":"x","pk":"p","n":5}');
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Overwrite theirs" }).click();
    await page.getByText(/^Saved/).waitFor();
    assert.match(await stored(page, name, "p", "x"), /"n":5/);
});

test("deleting asks before it does", async () => {
    const page = await open();
    const name = await container(page, ['{"id":"x","pk":"p"}']);
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "items", '["p"]', "x")}`);
    await page.getByRole("button", { name: "Delete" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assert.match(await stored(page, name, "p", "x"), /"id":"x"/);
    await page.getByRole("button", { name: "Delete" }).click();
    await dialog.getByRole("button", { name: "Delete" }).click();
    await page.getByText("No items yet").waitFor();
    await page.keyboard.press("5");
    await page.getByRole("button", { name: "Delete container" }).click();
    await dialog.getByLabel("Type its name to go on").fill("another");
    await dialog.getByRole("button", { name: "Delete" }).click();
    await dialog.getByText("That is not its name").waitFor();
    await dialog.getByLabel("Type its name to go on").fill(name);
    await dialog.getByRole("button", { name: "Delete" }).click();
    await until(page, () => location.hash === "#/db/tests");
});

test("a container is read in pages, there and back", async () => {
    const page = await open();
    const name = await container(page, numbered(250));
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "items")}`);
    const ids = async () => page.locator("tbody td.id").allTextContents();
    await page.getByText("1\u2013100 of 250").waitFor();
    const first = await ids();
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByText("101\u2013200 of 250").waitFor();
    const second = await ids();
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByText("201\u2013250 of 250").waitFor();
    assert.equal(await page.getByRole("button", { name: "Next" }).isDisabled(), true);
    assert.equal(new Set([...first, ...second, ...await ids()]).size, 250);
    await page.getByRole("button", { name: "Previous" }).click();
    await page.getByText("101\u2013200 of 250").waitFor();
    assert.deepEqual(await ids(), second);
    await page.keyboard.press("/");
    await page.keyboard.type("i77");
    await page.keyboard.press("Enter");
    await page.getByText("1 item with this id").waitFor();
    assert.deepEqual(await ids(), ["i77"]);
});

test("a query says its rows, RU, pages and plan", async () => {
    const page = await open();
    const name = await container(page, numbered(230));
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "query")}`);
    const query = page.getByLabel("Query"), numbers = async () => page.locator("tbody td").allTextContents();
    await query.fill("SELECT c.n FROM c WHERE c.n >= @least ORDER BY c.n DESC");
    await page.getByText("Parameters").click();
    await page.getByLabel("Parameters").fill('{"@least": 20}');
    await query.press("Control+Enter");
    await page.getByText(/^page 1: 100 rows, [\d.]+ RU/).waitFor();
    assert.deepEqual(await numbers(), count(100, i => String(229 - i)));
    await page.getByText("merged by the emulator").waitFor();
    await page.getByText("index: /n/?").waitFor();
    await page.getByRole("button", { name: "Next page" }).click();
    await page.getByText(/so far 200 rows, [\d.]+ RU/).waitFor();
    assert.deepEqual(await numbers(), count(100, i => String(129 - i)));
    await page.getByText("Plan", { exact: true }).click();
    await page.getByText('"orderBy": ["Descending"]').waitFor();
    await page.getByLabel("Show rows as").selectOption("json");
    await page.getByLabel("Rows").getByText('"n": 30').waitFor();
    await query.fill("SELECT VALUE COUNT(1) FROM c");
    await page.getByLabel("Parameters").fill("");
    await query.press("Control+Enter");
    await page.getByLabel("Rows").getByText("230", { exact: true }).waitFor();
    await query.fill("SELECT * FROM c WHERE c.n = -1");
    await query.press("Control+Enter");
    await page.getByText("No rows").waitFor();
});

test("a query's mistake is said in words, and shown", async () => {
    const page = await open();
    const name = await container(page);
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "query")}`);
    await page.getByLabel("Query").fill("SELECT * FORM c");
    await page.getByRole("button", { name: "Run" }).click();
    assert.equal(await alert(page).innerText(), "Refused (400)\nSyntax error, incorrect syntax near 'FORM'.");
    const selected = area => area.value.slice(area.selectionStart, area.selectionEnd);
    assert.equal(await page.getByLabel("Query").evaluate(selected), "FORM");
});

test("changes are seen as they happen, across a split", async () => {
    const page = await open(), other = await open();
    const name = await container(page, numbered(3));
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "changes")}`);
    const log = page.getByRole("log").locator("li"), watched = text => log.filter({ hasText: text }).first().waitFor();
    await page.getByText("Waiting for changes").waitFor();
    const request = page.waitForResponse(response => response.status() === 304);
    await request;
    await put(other, name, ['{"id":"fresh","pk":"k1"}']);
    await watched("fresh");
    assert.equal(await log.count(), 1);
    await page.evaluate(([name]) => control("PUT", "split", { database: "tests", container: name }), [name]);
    await put(other, name, numbered(30).map(text => text.replace(':"i', ':"later')));
    await until(page, () => document.querySelectorAll("[role=log] li").length === 31);
    await page.getByLabel("Which changes").selectOption("all");
    await until(page, () => document.querySelectorAll("[role=log] li").length === 34);
    await log.first().click();
    await page.getByText('"_lsn"').first().waitFor();
});

test("all versions and deletes are told apart", async () => {
    const page = await open();
    const name = await container(page, [], { changeFeedPolicy: { retentionDuration: 10 } });
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "changes")}`);
    await page.waitForResponse(response => response.status() === 304);
    const begun = page.waitForResponse(response => response.status() === 304 &&
                                                   response.request().headers()["a-im"] === "Full-Fidelity Feed");
    await page.getByLabel("Which changes").selectOption("every");
    await begun;
    for (let ranges = 0; ranges < 4; ranges++) await page.waitForResponse(response => response.status() === 304);
    await put(page, name, ['{"id":"x","pk":"p"}', '{"id":"x","pk":"p","n":1}']);
    await ask(page, "DELETE", ["dbs", "tests", "colls", name, "docs", "x"],
        { headers: { "x-ms-documentdb-partitionkey": '["p"]' } });
    await until(page, () => document.querySelectorAll("[role=log] li").length === 3);
    assert.deepEqual(await page.locator("[role=log] .badge").allTextContents(), ["delete", "replace", "create"]);
});

test("partitions show their load, split and merge", async () => {
    const page = await open();
    const name = await container(page, numbered(40));
    await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, "partitions")}`);
    const rows = page.locator("tbody tr");
    await rows.nth(3).waitFor();
    const items = (await page.locator("tbody td:nth-child(2)").allTextContents()).map(Number);
    assert.equal(items.reduce((a, b) => a + b), 40);
    await page.getByRole("button", { name: "Split partition 0" }).click();
    await page.getByRole("button", { name: "Split partition 5" }).waitFor();
    assert.equal(await rows.count(), 5);
    assert.match(await rows.first().innerText(), /from 0/);
    await page.getByRole("button", { name: "Merge partition 4 with 5" }).click();
    await page.getByRole("button", { name: "Split partition 6" }).waitFor();
    assert.equal(await rows.count(), 4);
    await page.getByText("4 partitions", { exact: true }).waitFor();
});

test("faults are made, said in words, and cleared", async () => {
    const { url: at } = await start(), page = await open("/faults", { at });
    await page.getByText("No rules: every request is served.").waitFor();
    await page.getByLabel("Requests of kind").fill("create_item");
    await page.getByLabel("Only so many").fill("1");
    await page.getByRole("button", { name: "Add the rule" }).click();
    await page.getByRole("cell", { name: "create_item" }).waitFor();
    await page.getByRole("cell", { name: "429/3200, 1 left" }).waitFor();
    await page.getByLabel("Requests of kind").fill("no such kind");
    await page.getByRole("button", { name: "Add the rule" }).click();
    await alert(page).getByText(/kind/).waitFor();
    const name = await container(page);
    const other = await open(address("db", "tests", name, "items", "new"), { at });
    await editor(other).fill('{"id":"x","pk":"p"}');
    await other.getByRole("button", { name: "Create" }).click();
    await alert(other).getByText("Too many requests").waitFor();
    await other.getByRole("button", { name: "Create" }).click();
    await other.getByText("1\u20131 of 1").waitFor();
    await page.locator("td.number", { hasText: "1" }).waitFor();
    await page.getByRole("button", { name: "Clear all rules" }).click();
    await page.getByText("No rules: every request is served.").waitFor();
});

test("a clock that is hours ahead is followed", async () => {
    const { url: at } = await start(), page = await open("/faults", { at });
    await page.getByLabel("Minutes").fill("600");
    await page.getByRole("button", { name: "Set" }).last().click();
    await page.getByText("600 minutes ahead").waitFor();
    const other = await open("/", { at });
    await other.getByText("The emulator is empty").waitFor();
    await page.getByRole("button", { name: "Real time" }).click();
    await page.getByText("It has the real time.").waitFor();
});

test("another key is asked for", async () => {
    const key = Buffer.from("a key of sixty-four bytes, as accounts have them, or about that..").toString("base64");
    const { url: at } = await start("--key", key);
    const page = await open("/", { at }), dialog = page.getByRole("dialog");
    for (const [wrong, says] of [["?", "That is no key"], [Buffer.from("wrong").toString("base64"), "Which key"]]) {
        await dialog.getByLabel("Account key").fill(wrong);
        await dialog.getByRole("button", { name: "Use it" }).click();
        await dialog.getByText(says).first().waitFor();
    }
    await dialog.getByLabel("Account key").fill(key);
    await dialog.getByRole("button", { name: "Use it" }).click();
    await page.getByText("The emulator is empty").waitFor();
    await page.reload();
    await page.getByText("The emulator is empty").waitFor();
});

test("an emulator that ends and comes back", async () => {
    const { url: at, emulator } = await start(), port = new URL(at).port;
    const page = await open("/", { at });
    await page.getByText("The emulator is empty").waitFor();
    emulator.kill();
    await page.getByText("no answer").waitFor();
    await start("--port", port);
    await page.getByText("The emulator is back").waitFor();
});

test("what documents say is text, whatever it is", async () => {
    const page = await open();
    const bad = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    const name = await container(page, [JSON.stringify({ id: "<b>x<b>", pk: bad, bad, [bad]: 1 })]);
    for (const view of ["items", "query", "changes"]) {
        await page.goto(`${url}_emulator/explorer#${address("db", "tests", name, view)}`);
        if (view === "query") await page.getByRole("button", { name: "Run" }).click();
        if (view === "changes") await page.getByLabel("Which changes").selectOption("all");
        await page.getByText("<b>x<b>").first().waitFor();
        assert.equal(await page.locator("main img, main b b, main script").count(), 0);
    }
    const itself = address("db", "tests", name, "items", JSON.stringify([bad]), "<b>x<b>");
    await page.goto(`${url}_emulator/explorer#${itself}`);
    await editor(page).waitFor();
    assert.match(await editor(page).inputValue(), /<img src=x/);
});

const views = ["items", "items/new", `items/${encodeURIComponent('["k0"]')}/i0`, "query", "changes", "partitions",
    "definition"];
const places = name => ["/", "/faults", "/nowhere", "/db/tests", ...views.map(view => `/db/tests/${name}/${view}`)];

test("an address that nobody can have linked says that nothing is there", async () => {
    for (const place of ["/db/%", "/somewhere"]) {
        const page = await open(place);
        await page.getByRole("heading", { name: "Nothing is here" }).waitFor();
    }
});

test("nothing is wider than a narrow screen", async () => {
    const page = await open("/", { size: [360, 640], colorScheme: "dark" });
    const long = JSON.stringify({ id: "long".repeat(60), pk: "w".repeat(200) });
    const name = await container(page, [...numbered(20), long]);
    for (const place of places(name)) {
        await page.goto(`${url}_emulator/explorer#${place}`);
        await page.locator("h1, h2").first().waitFor({ state: "attached" });
        await until(page, () => !document.querySelector(".busy"));
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth &&
                                            document.querySelector("main").scrollWidth <= innerWidth), place);
    }
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(19, 22, 27)");
});

test("everything that can be used has a name", async () => {
    const page = await open();
    const name = await container(page, numbered(20));
    for (const place of places(name)) {
        await page.goto(`${url}_emulator/explorer#${place}`);
        await page.locator("h1, h2").first().waitFor();
        const nameless = await page.evaluate(() => [...document.querySelectorAll("button, a, input, select, textarea")]
            .filter(element => !(element.ariaLabel || element.textContent.trim() || element.labels?.length))
            .map(element => element.outerHTML));
        assert.deepEqual(nameless, [], place);
    }
});

test("the page stands by itself, and what it uses is for this machine", async () => {
    const get = (headers, path = "explorer") => new Promise((resolve, reject) => {
        http.get(`${url}_emulator/${path}`, { headers }, answer => {
            let body = "";
            answer.on("data", part => body += part);
            answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body }));
        }).on("error", reject);
    });
    const { status, headers, body } = await get({});
    assert.equal(status, 200);
    assert.match(headers["content-security-policy"],
        /^default-src 'none'; connect-src 'self'.*frame-ancestors 'none'.*script-src 'sha256-[^']{44}'$/);
    assert.doesNotMatch(body.replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\/|src=|@import|url\(/);
    for (const strange of [{ host: "rebound.example" }, { origin: "http://other.example" }])
        assert.ok([401, 403].includes((await get(strange, "stats")).status));
    assert.equal((await get({ host: "rebound.example" }, "partitions/tests/c1")).status, 401);
});

let passed = 0, failed = 0;
const wanted = process.argv.slice(2);
const left = tests.filter(({ name }) => !wanted.length || wanted.some(part => name.includes(part)));

/** Tests wait for what happens once a second more than for anything else, so that several go on at a time. */
const worker = async () => {
    for (let next; (next = left.shift());) {
        const begin = Date.now();
        const pages = [], error = await opened.run(pages, next.run).then(() => null, error => error);
        await Promise.all(pages.map(page => page.close()));
        if (process.env.TIMES) console.log(`${Date.now() - begin} ms: ${next.name}`);
        if (error) console.log(`explorer: ${next.name}: ${error.stack}`);
        if (error) failed++;
        else passed++;
    }
};
await Promise.all(count(4, worker));
await browser.close();
for (const complaint of complaints) console.log(`explorer: the browser complains: ${complaint}`);
if (complaints.length) failed++;
else passed++;
console.log(`explorer: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
