// The official Java SDK in gateway mode against our emulator. AIOCOSMOS_EMULATOR and AIOCOSMOS_EMULATOR_TLS are two
// emulators; INTEROP_CA is the authority of the second one's certificate, which goes into a trust store of this
// program's, and it knows the Entra token AIOCOSMOS_EMULATOR_TOKEN. Arguments: only the tests whose names contain one
// of them.

import com.azure.core.credential.AccessToken;
import com.azure.cosmos.ChangeFeedProcessor;
import com.azure.cosmos.ChangeFeedProcessorBuilder;
import com.azure.cosmos.ConsistencyLevel;
import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosAsyncUser;
import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.ChangeFeedPolicy;
import com.azure.cosmos.models.ChangeFeedProcessorOptions;
import com.azure.cosmos.models.CompositePath;
import com.azure.cosmos.models.CompositePathSortOrder;
import com.azure.cosmos.models.CosmosBatch;
import com.azure.cosmos.models.CosmosBatchItemRequestOptions;
import com.azure.cosmos.models.CosmosBatchOperationResult;
import com.azure.cosmos.models.CosmosBatchPatchItemRequestOptions;
import com.azure.cosmos.models.CosmosBatchResponse;
import com.azure.cosmos.models.CosmosBulkItemRequestOptions;
import com.azure.cosmos.models.CosmosBulkOperationResponse;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosChangeFeedRequestOptions;
import com.azure.cosmos.models.CosmosContainerProperties;
import com.azure.cosmos.models.CosmosItemIdentity;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosPatchItemRequestOptions;
import com.azure.cosmos.models.CosmosPatchOperations;
import com.azure.cosmos.models.CosmosPermissionProperties;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.CosmosStoredProcedureProperties;
import com.azure.cosmos.models.CosmosTriggerProperties;
import com.azure.cosmos.models.CosmosUserDefinedFunctionProperties;
import com.azure.cosmos.models.CosmosUserProperties;
import com.azure.cosmos.models.ExcludedPath;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.IncludedPath;
import com.azure.cosmos.models.IndexingMode;
import com.azure.cosmos.models.IndexingPolicy;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.PartitionKeyBuilder;
import com.azure.cosmos.models.PartitionKeyDefinition;
import com.azure.cosmos.models.PartitionKeyDefinitionVersion;
import com.azure.cosmos.models.PartitionKind;
import com.azure.cosmos.models.PermissionMode;
import com.azure.cosmos.models.SqlParameter;
import com.azure.cosmos.models.SqlQuerySpec;
import com.azure.cosmos.models.ThroughputProperties;
import com.azure.cosmos.models.TriggerOperation;
import com.azure.cosmos.models.TriggerType;
import com.azure.cosmos.models.UniqueKey;
import com.azure.cosmos.models.UniqueKeyPolicy;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import reactor.core.publisher.Mono;

final class Java {
    static final String KEY =
        "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";
    static final String ENDPOINT = System.getenv("AIOCOSMOS_EMULATOR");
    static final String SECURE = System.getenv("AIOCOSMOS_EMULATOR_TLS");
    static final ObjectMapper JSON = new ObjectMapper();

    static CosmosClient client;
    static CosmosAsyncClient asyncClient;
    static CosmosDatabase database;
    static int made;

    interface Test {
        void run() throws Exception;
    }

    // ------------------------------------------------------------------------------------------------------- helpers

    static void check(boolean holds, Object why) {
        if (!holds) throw new AssertionError(why);
    }

    static void same(Object found, Object expected) {
        check(Objects.equals(found, expected), found + " is not " + expected);
    }

    /** That it fails, so. */
    static CosmosException refused(int status, Test what) throws Exception {
        try {
            what.run();
        } catch (CosmosException error) {
            same(error.getStatusCode(), status);
            return error;
        }
        throw new AssertionError("not refused with " + status);
    }

    static void until(String what, BooleanSupplier holds) throws InterruptedException {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < deadline, what + ": not in a minute");
            Thread.sleep(20);
        }
    }

    /** Tells the emulator to do something that no client can ask for. */
    static void emulator(String what, Object body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(ENDPOINT + "_emulator/" + what))
            .PUT(HttpRequest.BodyPublishers.ofString(JSON.writeValueAsString(body))).build();
        same(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).statusCode() / 100, 2);
    }

    static void split(CosmosContainer c, String... ranges) throws Exception {
        for (String range : ranges)
            emulator("split", Map.of("database", database.getId(), "container", c.getId(), "range", range));
    }

    static CosmosClientBuilder builder(String endpoint) {
        return new CosmosClientBuilder().endpoint(endpoint).gatewayMode().contentResponseOnWriteEnabled(true);
    }

    /** A new container, by /pk unless it is defined otherwise. */
    static CosmosContainer container() {
        return container(new CosmosContainerProperties("c" + ++made, "/pk"));
    }

    static CosmosContainer container(CosmosContainerProperties properties) {
        database.createContainer(properties);
        return database.getContainer(properties.getId());
    }

    static CosmosContainer byPaths(String... paths) {
        return container(new CosmosContainerProperties("c" + ++made, definition(paths)));
    }

    static PartitionKeyDefinition definition(String... paths) {
        return new PartitionKeyDefinition().setPaths(Arrays.asList(paths))
            .setKind(paths.length > 1 ? PartitionKind.MULTI_HASH : PartitionKind.HASH)
            .setVersion(PartitionKeyDefinitionVersion.V2);
    }

    static CosmosAsyncContainer async(CosmosContainer c) {
        return asyncClient.getDatabase(database.getId()).getContainer(c.getId());
    }

    /** An item of these names and values. */
    static ObjectNode item(Object... pairs) {
        Map<String, Object> values = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) values.put((String) pairs[i], pairs[i + 1]);
        return JSON.valueToTree(values);
    }

    static PartitionKey key(Object value) {
        return new PartitionKey(value);
    }

    static ObjectNode read(CosmosContainer c, String id, Object key) {
        return c.readItem(id, key(key), ObjectNode.class).getItem();
    }

    static CosmosContainer withNumbers(int count) {
        CosmosContainer c = container();
        List<CosmosItemOperation> all = new ArrayList<>();
        for (int i = 0; i < count; i++)
            all.add(CosmosBulkOperations.getCreateItemOperation(item("id", "" + i, "pk", "p" + i % 9, "n", i),
                key("p" + i % 9)));
        for (CosmosBulkOperationResponse<Object> one : c.executeBulkOperations(all))
            same(one.getResponse().getStatusCode(), 201);
        return c;
    }

    static List<Integer> range(int count) {
        return IntStream.range(0, count).boxed().collect(Collectors.toList());
    }

    static <T> List<T> list(Iterable<T> all) {
        return StreamSupport.stream(all.spliterator(), false).collect(Collectors.toList());
    }

    static List<Integer> sorted(List<Integer> list) {
        return list.stream().sorted().collect(Collectors.toList());
    }

    static List<Integer> ids(Iterable<? extends JsonNode> items) {
        return sorted(list(items).stream().map(one -> one.get("id").asInt()).collect(Collectors.toList()));
    }

    // ------------------------------------------------------------------------------------------------------- account

    static void aWrongKey() {
        try {
            builder(ENDPOINT).key("bm90IHRoZSBrZXk=").buildClient();
        } catch (RuntimeException error) {
            check(error.getMessage().contains("The wrong key is being used"), error);
            return;
        }
        throw new AssertionError("not refused");
    }

    static void overTLS() {
        try (CosmosClient secure = builder(SECURE).key(KEY).buildClient()) {
            secure.createDatabase("tls java");
            CosmosDatabase owner = secure.getDatabase("tls java");
            owner.createContainer("c", "/pk");
            CosmosContainer c = owner.getContainer("c");
            for (int i = 0; i < 20; i++) c.createItem(item("id", "" + i, "pk", i % 3, "text", "x".repeat(2000 * i)));
            same(read(c, "19", 1).get("text").asText().length(), 38000);
            same(list(c.queryItems("SELECT * FROM c", null, JsonNode.class)).size(), 20);
            owner.delete();
        }
    }

    static void entraTokens() throws Exception {
        AccessToken token =
            new AccessToken(System.getenv("AIOCOSMOS_EMULATOR_TOKEN"), OffsetDateTime.now().plusHours(1));
        try (CosmosClient owner = builder(SECURE).key(KEY).buildClient();
                CosmosClient guest = builder(SECURE).credential(context -> Mono.just(token)).buildClient()) {
            owner.createDatabase("entra java");
            owner.getDatabase("entra java").createContainer("c", "/pk");
            CosmosContainer seen = guest.getDatabase("entra java").getContainer("c");
            same(seen.createItem(item("id", "1", "pk", "a")).getStatusCode(), 201);
            same(read(seen, "1", "a").get("id").asText(), "1");
            refused(403, () -> guest.createDatabase("not with this"));
            owner.getDatabase("entra java").delete();
        }
    }

    // ------------------------------------------------------------------------------------- databases and containers

    static void databases() throws Exception {
        same(client.createDatabase("one java").getStatusCode(), 201);
        refused(409, () -> client.createDatabase("one java"));
        client.createDatabaseIfNotExists("one java");
        CosmosDatabase one = client.getDatabase("one java");
        same(one.read().getProperties().getId(), "one java");
        check(list(client.readAllDatabases()).stream().anyMatch(any -> any.getId().equals("one java")), "not listed");
        SqlQuerySpec query = new SqlQuerySpec("SELECT * FROM r WHERE r.id = @id", new SqlParameter("@id", "one java"));
        same(list(client.queryDatabases(query, null)).size(), 1);
        one.delete();
        refused(404, one::read);
    }

    static void oddNames() {
        for (String id : List.of("a b", "ü 100% + c", "日本語", "a&b=c;d,e")) {
            client.createDatabase(id);
            CosmosDatabase owner = client.getDatabase(id);
            same(owner.read().getProperties().getId(), id);
            owner.createContainer(id, "/pk");
            CosmosContainer c = owner.getContainer(id);
            c.createItem(item("id", id, "pk", id));
            same(read(c, id, id).get("pk").asText(), id);
            same(list(c.queryItems("SELECT * FROM c", null, JsonNode.class)).size(), 1);
            owner.delete();
        }
    }

    static void containers() throws Exception {
        CosmosContainer c = container(new CosmosContainerProperties("crud", "/pk"));
        refused(409, () -> database.createContainer("crud", "/pk"));
        database.createContainerIfNotExists("crud", "/pk");
        CosmosContainerProperties found = c.read().getProperties();
        same(found.getPartitionKeyDefinition().getPaths(), List.of("/pk"));
        same(found.getIndexingPolicy().getIndexingMode(), IndexingMode.CONSISTENT);
        check(list(database.readAllContainers()).stream().anyMatch(one -> one.getId().equals("crud")), "not listed");
        SqlQuerySpec query = new SqlQuerySpec("SELECT * FROM r WHERE r.id = @id", new SqlParameter("@id", "crud"));
        same(list(database.queryContainers(query)).size(), 1);
        found.setDefaultTimeToLiveInSeconds(100);
        same(c.replace(found).getProperties().getDefaultTimeToLiveInSeconds(), 100);
        c.delete();
        refused(404, c::read);
    }

    static void definitions() {
        IndexingPolicy indexing = new IndexingPolicy().setIndexingMode(IndexingMode.CONSISTENT).setAutomatic(true)
            .setIncludedPaths(List.of(new IncludedPath("/a/*"))).setExcludedPaths(List.of(new ExcludedPath("/*")))
            .setCompositeIndexes(List.of(List.of(
                new CompositePath().setPath("/a").setOrder(CompositePathSortOrder.ASCENDING),
                new CompositePath().setPath("/b").setOrder(CompositePathSortOrder.DESCENDING))));
        CosmosContainerProperties wanted =
            new CosmosContainerProperties("defined", definition("/tenant", "/user/id", "/day"))
                .setIndexingPolicy(indexing)
                .setUniqueKeyPolicy(new UniqueKeyPolicy().setUniqueKeys(List.of(new UniqueKey(List.of("/email")))))
                .setDefaultTimeToLiveInSeconds(1000);
        CosmosContainerProperties found = container(wanted).read().getProperties();
        same(found.getPartitionKeyDefinition().getPaths(), List.of("/tenant", "/user/id", "/day"));
        same(found.getPartitionKeyDefinition().getKind(), PartitionKind.MULTI_HASH);
        same(found.getPartitionKeyDefinition().getVersion(), PartitionKeyDefinitionVersion.V2);
        same(found.getUniqueKeyPolicy().getUniqueKeys().get(0).getPaths(), List.of("/email"));
        same(found.getIndexingPolicy().getIncludedPaths().get(0).getPath(), "/a/*");
        same(found.getIndexingPolicy().getCompositeIndexes().get(0).size(), 2);
        same(found.getDefaultTimeToLiveInSeconds(), 1000);
    }

    static void throughput() throws Exception {
        ThroughputProperties manual = ThroughputProperties.createManualThroughput(500);
        ThroughputProperties auto = ThroughputProperties.createAutoscaledThroughput(4000);
        client.createDatabase("manual java", manual);
        CosmosDatabase paid = client.getDatabase("manual java");
        same(paid.readThroughput().getProperties().getManualThroughput(), 500);
        paid.replaceThroughput(ThroughputProperties.createManualThroughput(700));
        same(paid.readThroughput().getProperties().getManualThroughput(), 700);
        paid.delete();
        client.createDatabase("auto java", auto);
        same(client.getDatabase("auto java").readThroughput().getProperties().getAutoscaleMaxThroughput(), 4000);
        client.getDatabase("auto java").delete();
        database.createContainer("manual", "/pk", manual);
        CosmosContainer c = database.getContainer("manual");
        same(c.readThroughput().getProperties().getManualThroughput(), 500);
        same(c.readThroughput().getMinThroughput(), 400);
        check(!c.replaceThroughput(ThroughputProperties.createManualThroughput(900)).isReplacePending(), "pending");
        same(c.readThroughput().getProperties().getManualThroughput(), 900);
        refused(400, () -> c.replaceThroughput(ThroughputProperties.createManualThroughput(123)));
        database.createContainer("auto", "/pk", auto);
        CosmosContainer scaled = database.getContainer("auto");
        scaled.replaceThroughput(ThroughputProperties.createAutoscaledThroughput(6000));
        same(scaled.readThroughput().getProperties().getAutoscaleMaxThroughput(), 6000);
    }

    // --------------------------------------------------------------------------------------------------------- items

    static void items() throws Exception {
        CosmosContainer c = container();
        ObjectNode letters = item("id", "letters", "pk", "a", "s", "é\0\u2028\"\\/😀", "n", -0.5, "big", 1e300,
            "t", true, "z", null, "list", List.of(1, List.of(2, Map.of())));
        var created = c.createItem(letters, key("a"), null);
        same(created.getStatusCode(), 201);
        check(created.getRequestCharge() > 0 && created.getSessionToken() != null, "no charge or token");
        same(created.getETag(), created.getItem().get("_etag").asText());
        ObjectNode found = read(c, "letters", "a");
        same(found, created.getItem());
        letters.fieldNames().forEachRemaining(name -> same(found.get(name), letters.get(name)));
        letters.put("n", 2);
        same(c.replaceItem(letters, "letters", key("a"), null).getItem().get("n").asInt(), 2);
        same(c.upsertItem(item("id", "letters", "pk", "a")).getStatusCode(), 200);
        same(c.upsertItem(item("id", "new", "pk", "a")).getStatusCode(), 201);
        same(list(c.readAllItems(key("a"), JsonNode.class)).size(), 2);
        same(c.deleteItem("letters", key("a"), null).getStatusCode(), 204);
        refused(404, () -> read(c, "letters", "a"));
        CosmosItemRequestOptions quiet = new CosmosItemRequestOptions().setContentResponseOnWriteEnabled(false);
        check(c.createItem(item("id", "quiet", "pk", "a"), quiet).getItem() == null, "an item that nobody asked for");
    }

    static void refusals() throws Exception {
        CosmosContainer c = container();
        c.createItem(item("id", "1", "pk", "a"));
        CosmosException conflict = refused(409, () -> c.createItem(item("id", "1", "pk", "a")));
        check(conflict.getMessage().contains("already exists"), conflict.getMessage());
        refused(404, () -> c.replaceItem(item("id", "2", "pk", "a"), "2", key("a"), null));
        refused(404, () -> c.deleteItem("1", key("b"), null));
        refused(400, () -> c.createItem(item("id", "2", "pk", "a"), key("b"), null));
        refused(400, () -> c.createItem(item("id", "too long".repeat(200), "pk", "a")));
        refused(413, () -> c.createItem(item("id", "big", "pk", "a", "text", "x".repeat(2 << 20))));
        refused(404, () -> read(database.getContainer("none"), "1", "a"));
    }

    static void etags() throws Exception {
        CosmosContainer c = container();
        String first = c.createItem(item("id", "1", "pk", "a", "n", 1)).getETag();
        CosmosItemRequestOptions other = new CosmosItemRequestOptions().setIfMatchETag("\"other\"");
        ObjectNode next = item("id", "1", "pk", "a", "n", 2);
        CosmosPatchItemRequestOptions patch = new CosmosPatchItemRequestOptions();
        patch.setIfMatchETag("\"other\"");
        refused(412, () -> c.replaceItem(next, "1", key("a"), other));
        refused(412, () -> c.upsertItem(next, other));
        refused(412, () -> c.patchItem("1", key("a"), CosmosPatchOperations.create().increment("/n", 1), patch,
            JsonNode.class));
        refused(412, () -> c.deleteItem("1", key("a"), other));
        CosmosItemRequestOptions right = new CosmosItemRequestOptions().setIfMatchETag(first);
        String second = c.replaceItem(next, "1", key("a"), right).getETag();
        CosmosItemRequestOptions known = new CosmosItemRequestOptions().setIfNoneMatchETag(second);
        same(c.readItem("1", key("a"), known, JsonNode.class).getStatusCode(), 304);
        c.deleteItem("1", key("a"), new CosmosItemRequestOptions().setIfMatchETag(second));
    }

    static void partitionKeys() {
        CosmosContainer c = container();
        List<Object> keys = Arrays.asList("a", "", "ü😀\"\\", "x".repeat(1500), 0, -0.5, 1e21, 1.7976931348623157e308,
            true, false, null);
        List<CosmosItemIdentity> all = new ArrayList<>();
        for (int i = 0; i < keys.size(); i++) {
            PartitionKey key = key(keys.get(i));
            c.createItem(item("id", "same", "pk", keys.get(i), "i", i), key, null);
            same(read(c, "same", keys.get(i)).get("i").asInt(), i);
            CosmosQueryRequestOptions within = new CosmosQueryRequestOptions().setPartitionKey(key);
            same(list(c.queryItems("SELECT VALUE c.i FROM c", within, Integer.class)), List.of(i));
            all.add(new CosmosItemIdentity(key, "same"));
        }
        c.createItem(item("id", "same"), PartitionKey.NONE, null);
        same(c.readItem("same", PartitionKey.NONE, JsonNode.class).getStatusCode(), 200);
        same(c.readMany(all, JsonNode.class).getResults().size(), keys.size());
        for (CosmosItemIdentity one : all) c.deleteItem("same", one.getPartitionKey(), null);
    }

    static void hierarchicalKeys() throws Exception {
        CosmosContainer c = byPaths("/tenant", "/user", "/n");
        for (int i = 0; i < 8; i++)
            c.createItem(item("id", "same", "tenant", "t" + i / 4, "user", "u" + i / 2 % 2, "n", i % 2));
        PartitionKey whole = new PartitionKeyBuilder().add("t1").add("u0").add(1).build();
        same(c.readItem("same", whole, JsonNode.class).getItem().get("user").asText(), "u0");
        PartitionKey part = new PartitionKeyBuilder().add("t1").build();
        CosmosQueryRequestOptions within = new CosmosQueryRequestOptions().setPartitionKey(part);
        same(list(c.queryItems("SELECT * FROM c", within, JsonNode.class)).size(), 4);
        same(c.readMany(List.of(new CosmosItemIdentity(whole, "same")), JsonNode.class).getResults().size(), 1);
        c.deleteItem("same", whole, null);
        refused(404, () -> c.readItem("same", whole, JsonNode.class));
    }

    static void oddIds() {
        CosmosContainer c = container();
        for (String id : List.of("a b", "100%", "%41", "%2F", "a+b", "a&b=c", "ü", "日本語😀", "'\"`", "a;b,c", "<x>",
                "a@b:c", "~!$*()[]{}|^", "x".repeat(255), "a=", "%")) {
            c.createItem(item("id", id, "pk", "a"));
            same(read(c, id, "a").get("id").asText(), id);
            c.replaceItem(item("id", id, "pk", "a", "n", 1), id, key("a"), null);
            c.deleteItem(id, key("a"), null);
        }
    }

    static void patches() throws Exception {
        CosmosContainer c = container();
        c.createItem(item("id", "1", "pk", "a", "n", 1, "list", List.of(1, 2), "o", Map.of("x", 1), "gone", true));
        CosmosPatchOperations patch = CosmosPatchOperations.create().add("/list/1", "between").set("/o/y", "é")
            .replace("/o/x", 2).increment("/n", 1.5).remove("/gone").move("/o/x", "/moved");
        ObjectNode found = c.patchItem("1", key("a"), patch, ObjectNode.class).getItem();
        same(found.get("n").asDouble(), 2.5);
        same(found.get("list").toString(), "[1,\"between\",2]");
        same(found.get("o").toString(), "{\"y\":\"é\"}");
        same(found.get("moved").asInt(), 2);
        CosmosPatchItemRequestOptions options = new CosmosPatchItemRequestOptions();
        options.setFilterPredicate("from c where c.n > 3");
        CosmosPatchOperations ok = CosmosPatchOperations.create().set("/ok", true);
        refused(412, () -> c.patchItem("1", key("a"), ok, options, JsonNode.class));
        options.setFilterPredicate("from c where c.n > 2");
        c.patchItem("1", key("a"), ok, options, JsonNode.class);
    }

    static void sessionTokens() throws Exception {
        CosmosContainer c = container();
        String token = c.createItem(item("id", "1", "pk", "a")).getSessionToken();
        CosmosItemRequestOptions after = new CosmosItemRequestOptions().setSessionToken(token);
        same(c.readItem("1", key("a"), after, JsonNode.class).getStatusCode(), 200);
        CosmosItemRequestOptions eventual =
            new CosmosItemRequestOptions().setConsistencyLevel(ConsistencyLevel.EVENTUAL);
        same(c.readItem("1", key("a"), eventual, JsonNode.class).getStatusCode(), 200);
    }

    static void aBusyService() throws Exception {
        CosmosContainer c = container();
        c.createItem(item("id", "0", "pk", "a"));
        Map<String, Object> rule = new HashMap<>(Map.of("status", 429, "sub_status", 3200, "retry_after_ms", 1, "path",
            "colls/" + c.getId() + "/docs"));
        rule.put("count", 3);
        emulator("faults", rule);
        same(c.createItem(item("id", "1", "pk", "a")).getStatusCode(), 201);
        rule.put("count", 100);
        emulator("faults", rule);
        refused(429, () -> c.createItem(item("id", "2", "pk", "a")));
        emulator("faults", List.of());
    }

    static void allOfAKeyAreDeleted() throws Exception {
        CosmosContainer c = withNumbers(27);
        c.deleteAllItemsByPartitionKey(key("p4"), null);
        until("deleting", () -> list(c.readAllItems(key("p4"), JsonNode.class)).isEmpty());
        same(list(c.queryItems("SELECT * FROM c", null, JsonNode.class)).size(), 24);
    }

    // ------------------------------------------------------------------------------------------------------- queries

    static List<Integer> rows(CosmosContainer c, String query) {
        return list(c.queryItems(query, new CosmosQueryRequestOptions(), Integer.class));
    }

    static void queries() throws Exception {
        CosmosContainer c = withNumbers(60);
        CosmosQueryRequestOptions within = new CosmosQueryRequestOptions().setPartitionKey(key("p4"));
        SqlQuerySpec query = new SqlQuerySpec("SELECT VALUE c.n FROM c WHERE c.n > @n AND ARRAY_CONTAINS(@l, c.id)",
            new SqlParameter("@n", 4), new SqlParameter("@l", List.of("4", "13", "22")));
        same(list(c.queryItems(query, within, Integer.class)), List.of(13, 22));
        same(sorted(rows(c, "SELECT VALUE c.n FROM c")), range(60));
        same(sorted(rows(c, "SELECT VALUE c.n FROM c WHERE c.pk = 'p4' AND c.n < 30")), List.of(4, 13, 22));
        List<Integer> down = range(60);
        Collections.reverse(down);
        same(rows(c, "SELECT VALUE c.n FROM c ORDER BY c.n DESC"), down);
        same(rows(c, "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n"), List.of(0, 1, 2));
        same(rows(c, "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 10 LIMIT 2"), List.of(10, 11));
        same(rows(c, "SELECT VALUE COUNT(1) FROM c"), List.of(60));
        same(list(c.queryItems("SELECT VALUE SUM(c.n) FROM c", null, Double.class)), List.of(1770.0));
        same(rows(c, "SELECT VALUE MAX(c.n) FROM c"), List.of(59));
        same(new TreeSet<>(list(c.queryItems("SELECT DISTINCT VALUE c.pk FROM c", null, String.class))).size(), 9);
        List<JsonNode> groups = list(c.queryItems("SELECT c.pk, COUNT(1) AS count FROM c GROUP BY c.pk",
            new CosmosQueryRequestOptions(), JsonNode.class));
        same(groups.size(), 9);
        same(groups.stream().mapToInt(group -> group.get("count").asInt()).sum(), 60);
        refused(400, () -> rows(c, "SELECT * FORM c"));
    }

    /** In pages with a continuation, each by a query of its own. */
    static List<Integer> inPages(CosmosContainer c, String query, CosmosQueryRequestOptions options, int size) {
        List<Integer> found = new ArrayList<>();
        String continuation = null;
        int pages = 0;
        do {
            FeedResponse<Integer> page =
                c.queryItems(query, options, Integer.class).iterableByPage(continuation, size).iterator().next();
            check(page.getResults().size() <= size, "a page of " + page.getResults().size());
            found.addAll(page.getResults());
            continuation = page.getContinuationToken();
            check(++pages < 100, "no end");
        } while (continuation != null);
        check(pages >= (found.size() + size - 1) / size, pages + " pages");
        return found;
    }

    static void pages() throws Exception {
        CosmosContainer c = withNumbers(60);
        CosmosQueryRequestOptions all = new CosmosQueryRequestOptions();
        CosmosQueryRequestOptions within = new CosmosQueryRequestOptions().setPartitionKey(key("p4"));
        same(inPages(c, "SELECT VALUE c.n FROM c", within, 2), List.of(4, 13, 22, 31, 40, 49, 58));
        same(sorted(inPages(c, "SELECT VALUE c.n FROM c", all, 7)), range(60));
        same(inPages(c, "SELECT VALUE c.n FROM c ORDER BY c.n", all, 7), range(60));
        same(inPages(c, "SELECT TOP 40 VALUE c.n FROM c ORDER BY c.n", all, 9), range(40));
        same(inPages(c, "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 0 LIMIT 30", all, 9), range(30));
        refused(400, () -> c.queryItems("SELECT VALUE 1 FROM c", within, Integer.class).iterableByPage("nonsense", 2)
            .iterator().next());
    }

    static void feedRangesAndASplit() throws Exception {
        CosmosContainer c = withNumbers(60);
        List<Integer> found = new ArrayList<>();
        List<FeedRange> ranges = c.getFeedRanges();
        check(ranges.size() > 1, ranges);
        for (FeedRange range : ranges) {
            CosmosQueryRequestOptions within = new CosmosQueryRequestOptions().setFeedRange(range);
            found.addAll(list(c.queryItems("SELECT VALUE c.n FROM c", within, Integer.class)));
        }
        same(sorted(found), range(60));
        var pages = c.queryItems("SELECT VALUE c.n FROM c ORDER BY c.n", new CosmosQueryRequestOptions(), Integer.class)
            .iterableByPage(5).iterator();
        List<Integer> ordered = new ArrayList<>(pages.next().getResults());
        split(c, "0", "1", "2");
        while (pages.hasNext()) ordered.addAll(pages.next().getResults());
        same(ordered, range(60));
        for (int i = 0; i < 60; i++) same(read(c, "" + i, "p" + i % 9).get("n").asInt(), i);
    }

    static void readingMany() throws Exception {
        CosmosContainer c = withNumbers(60);
        List<CosmosItemIdentity> wanted = new ArrayList<>();
        for (int i = 0; i < 60; i += 2) wanted.add(new CosmosItemIdentity(key("p" + i % 9), "" + i));
        wanted.add(new CosmosItemIdentity(key("p1"), "none"));
        FeedResponse<JsonNode> answer = c.readMany(wanted, JsonNode.class);
        same(answer.getResults().size(), 30);
        check(answer.getRequestCharge() > 0, "no charge");
        split(c, "3");
        same(c.readMany(wanted, JsonNode.class).getResults().size(), 30);
        same(c.readMany(List.of(wanted.get(0)), JsonNode.class).getResults().size(), 1);
        same(ids(c.readManyByPartitionKeys(List.of(key("p0"), key("p1"), key("none")), JsonNode.class)),
            range(60).stream().filter(i -> i % 9 < 2).collect(Collectors.toList()));
    }

    // ----------------------------------------------------------------------------------------------- the change feed

    /** Reads on until nothing is new; continuation[0] is where that was. */
    static List<JsonNode> drain(CosmosContainer c, CosmosChangeFeedRequestOptions options, String[] continuation) {
        List<JsonNode> found = new ArrayList<>();
        options.setMaxItemCount(5);
        for (FeedResponse<JsonNode> page : c.queryChangeFeed(options, JsonNode.class).iterableByPage()) {
            found.addAll(page.getResults());
            continuation[0] = page.getContinuationToken();
        }
        return found;
    }

    static List<JsonNode> drainFrom(CosmosContainer c, String[] at) {
        return drain(c, CosmosChangeFeedRequestOptions.createForProcessingFromContinuation(at[0]), at);
    }

    static void theChangeFeed() throws Exception {
        CosmosContainer c = withNumbers(60);
        String[] all = { null }, one = { null }, now = { null };
        FeedRange whole = FeedRange.forFullRange(), p4 = FeedRange.forLogicalPartition(key("p4"));
        same(ids(drain(c, CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(whole), all)), range(60));
        same(drain(c, CosmosChangeFeedRequestOptions.createForProcessingFromNow(whole), now).size(), 0);
        same(ids(drain(c, CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(p4), one)),
            List.of(4, 13, 22, 31, 40, 49, 58));
        Instant past = Instant.now().minusSeconds(3600);
        same(drain(c, CosmosChangeFeedRequestOptions.createForProcessingFromPointInTime(past, whole),
            new String[1]).size(), 60);
        c.upsertItem(item("id", "7", "pk", "p7", "changed", true));
        c.upsertItem(item("id", "13", "pk", "p4", "changed", true));
        c.createItem(item("id", "60", "pk", "new"));
        c.deleteItem("8", key("p8"), null);
        split(c, "0", "1");
        same(ids(drainFrom(c, all)), List.of(7, 13, 60));
        same(ids(drainFrom(c, now)), List.of(7, 13, 60));
        same(ids(drainFrom(c, one)), List.of(13));
        List<JsonNode> parts = new ArrayList<>();
        for (FeedRange part : c.getFeedRanges()) {
            var beginning = CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(part);
            parts.addAll(drain(c, beginning, new String[1]));
        }
        same(parts.size(), 60);
    }

    static void allVersionsAndDeletes() {
        CosmosContainer c = container(new CosmosContainerProperties("c" + ++made, "/pk")
            .setChangeFeedPolicy(ChangeFeedPolicy.createAllVersionsAndDeletesPolicy(Duration.ofMinutes(5))));
        c.createItem(item("id", "1", "pk", "a", "n", 0));
        String[] now = { null };
        CosmosChangeFeedRequestOptions from =
            CosmosChangeFeedRequestOptions.createForProcessingFromNow(FeedRange.forFullRange()).allVersionsAndDeletes();
        same(drain(c, from, now).size(), 0);
        c.createItem(item("id", "2", "pk", "a", "n", 1));
        c.replaceItem(item("id", "2", "pk", "a", "n", 2), "2", key("a"), null);
        c.deleteItem("1", key("a"), null);
        List<JsonNode> found = drain(c,
            CosmosChangeFeedRequestOptions.createForProcessingFromContinuation(now[0]).allVersionsAndDeletes(), now);
        same(found.stream().map(change -> change.get("metadata").get("operationType").asText())
            .collect(Collectors.toList()), List.of("create", "replace", "delete"));
        same(found.get(1).get("current").get("n").asInt(), 2);
    }

    static ChangeFeedProcessor processor(CosmosContainer feed, CosmosContainer leases, String name, Set<Integer> seen) {
        ChangeFeedProcessorOptions options = new ChangeFeedProcessorOptions().setStartFromBeginning(true)
            .setFeedPollDelay(Duration.ofMillis(50)).setMaxItemCount(10).setLeaseAcquireInterval(Duration.ofMillis(500))
            .setLeaseRenewInterval(Duration.ofSeconds(1)).setLeaseExpirationInterval(Duration.ofSeconds(3));
        ChangeFeedProcessor processor = new ChangeFeedProcessorBuilder().hostName(name).feedContainer(async(feed))
            .leaseContainer(async(leases)).options(options)
            .handleLatestVersionChanges(all -> all.forEach(one -> seen.add(one.getCurrent().get("id").asInt())))
            .buildChangeFeedProcessor();
        processor.start().block();
        return processor;
    }

    static void addTo(CosmosContainer c, int from, int to) {
        for (int i = from; i < to; i++) c.createItem(item("id", "" + i, "pk", "p" + i));
    }

    /** Two workers share the leases; ranges split; one stops, and the other takes over what it had. */
    static void theChangeFeedProcessor() throws Exception {
        CosmosContainer feed = withNumbers(60), leases = byPaths("/id");
        Set<Integer> ann = new ConcurrentSkipListSet<>(), bob = new ConcurrentSkipListSet<>();
        ChangeFeedProcessor one = processor(feed, leases, "ann", ann);
        until("the first", () -> ann.size() == 60);
        ChangeFeedProcessor two = processor(feed, leases, "bob", bob);
        until("sharing", () -> one.getCurrentState().block().stream()
            .map(state -> String.valueOf(state.getHostName())).collect(Collectors.toSet())
            .containsAll(Set.of("ann", "bob")));
        addTo(feed, 60, 100);
        until("both", () -> ann.size() + bob.size() >= 100 && !bob.isEmpty());
        split(feed, "0", "1", "2", "3");
        addTo(feed, 100, 140);
        Set<Integer> all = new TreeSet<>(range(140));
        until("after a split", () -> {
            Set<Integer> seen = new TreeSet<>(ann);
            seen.addAll(bob);
            return seen.equals(all);
        });
        // Not that no lag is left: of two updates of a lease at once the SDK may lose the later continuation.
        until("a lease for each range", () -> one.getCurrentState().block().size() == feed.getFeedRanges().size());
        check(one.getCurrentState().block().stream().allMatch(state -> state.getEstimatedLag() >= 0), "a lag below 0");
        one.stop().block();
        until("taking over", () -> two.getCurrentState().block().stream()
            .allMatch(state -> "bob".equals(state.getHostName())));
        addTo(feed, 140, 180);
        until("alone", () -> bob.containsAll(range(180).subList(140, 180)));
        two.stop().block();
    }

    static void theProcessorOfAllVersions() throws Exception {
        CosmosContainer feed = container(new CosmosContainerProperties("c" + ++made, "/pk")
            .setChangeFeedPolicy(ChangeFeedPolicy.createAllVersionsAndDeletesPolicy(Duration.ofMinutes(5))));
        CosmosContainer leases = byPaths("/id");
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        ChangeFeedProcessor processor = new ChangeFeedProcessorBuilder().hostName("eve").feedContainer(async(feed))
            .leaseContainer(async(leases))
            .options(new ChangeFeedProcessorOptions().setFeedPollDelay(Duration.ofMillis(50)))
            .handleAllVersionsAndDeletesChanges(all -> all.forEach(one ->
                seen.add(one.getChangeFeedMetaData().getOperationType().name().toLowerCase())))
            .buildChangeFeedProcessor();
        processor.start().block();
        until("leases", () -> processor.getCurrentState().block().stream()
            .allMatch(state -> state.getContinuationToken() != null));
        feed.createItem(item("id", "1", "pk", "a"));
        feed.replaceItem(item("id", "1", "pk", "a", "n", 1), "1", key("a"), null);
        feed.deleteItem("1", key("a"), null);
        until("three changes", () -> seen.size() >= 3);
        same(List.copyOf(seen), List.of("create", "replace", "delete"));
        processor.stop().block();
    }

    // ----------------------------------------------------------------------------------------------- batches and bulks

    static List<Integer> statuses(CosmosBatchResponse batch) {
        return batch.getResults().stream().map(CosmosBatchOperationResult::getStatusCode).collect(Collectors.toList());
    }

    static void batches() {
        CosmosContainer c = container();
        for (String id : List.of("read", "replace", "delete", "patch")) c.createItem(item("id", id, "pk", "a", "n", 1));
        CosmosBatch batch = CosmosBatch.createCosmosBatch(key("a"));
        batch.createItemOperation(item("id", "create", "pk", "a"));
        batch.upsertItemOperation(item("id", "upsert", "pk", "a"));
        batch.readItemOperation("read");
        batch.replaceItemOperation("replace", item("id", "replace", "pk", "a", "n", 2));
        batch.deleteItemOperation("delete");
        batch.patchItemOperation("patch", CosmosPatchOperations.create().increment("/n", 2));
        CosmosBatchResponse answer = c.executeCosmosBatch(batch);
        check(answer.isSuccessStatusCode() && answer.getRequestCharge() > 6, answer.getStatusCode());
        same(statuses(answer), List.of(201, 201, 200, 200, 204, 200));
        same(answer.getResults().get(2).getItem(ObjectNode.class).get("n").asInt(), 1);
        same(answer.getResults().get(5).getItem(ObjectNode.class).get("n").asInt(), 3);
        check(answer.getResults().get(0).getETag() != null, "no ETag");
        CosmosContainer hierarchical = byPaths("/a", "/b");
        CosmosBatch two = CosmosBatch.createCosmosBatch(new PartitionKeyBuilder().add("x").add("y").build());
        for (int i = 0; i < 100; i++) two.createItemOperation(item("id", "" + i, "a", "x", "b", "y"));
        same(statuses(hierarchical.executeCosmosBatch(two)), Collections.nCopies(100, 201));
    }

    static void undoneBatches() {
        CosmosContainer c = container();
        String etag = c.createItem(item("id", "there", "pk", "a", "n", 1)).getETag();
        ObjectNode there = item("id", "there", "pk", "a", "n", 2);
        CosmosBatchItemRequestOptions other = new CosmosBatchItemRequestOptions().setIfMatchETag("\"other\"");
        CosmosPatchOperations more = CosmosPatchOperations.create().increment("/n", 1);
        for (int status : List.of(409, 404, 412, 400, 1412)) {
            CosmosBatch batch = CosmosBatch.createCosmosBatch(key("a"));
            batch.createItemOperation(item("id", "new", "pk", "a"));
            switch (status) {
                case 409: batch.createItemOperation(there); break;
                case 404: batch.readItemOperation("none"); break;
                case 412: batch.replaceItemOperation("there", there, other); break;
                case 400: batch.createItemOperation(item("id", "x", "pk", "b")); break;
                default: batch.patchItemOperation("there", more,
                    new CosmosBatchPatchItemRequestOptions().setFilterPredicate("from c where c.n > 1"));
            }
            CosmosBatchResponse answer = c.executeCosmosBatch(batch);
            check(!answer.isSuccessStatusCode(), "done");
            same(statuses(answer), List.of(424, status % 1000));
            same(list(c.readAllItems(key("a"), JsonNode.class)).size(), 1);
        }
        CosmosBatch batch = CosmosBatch.createCosmosBatch(key("a"));
        batch.replaceItemOperation("there", there, new CosmosBatchItemRequestOptions().setIfMatchETag(etag));
        same(statuses(c.executeCosmosBatch(batch)), List.of(200));
    }

    /** The statuses of a bulk by its operations' places. */
    static List<Integer> run(CosmosContainer c, List<CosmosItemOperation> operations) {
        Integer[] found = new Integer[operations.size()];
        for (CosmosBulkOperationResponse<Object> one : c.executeBulkOperations(operations)) {
            if (one.getResponse() == null) throw new AssertionError(one.getException());
            found[operations.indexOf(one.getOperation())] = one.getResponse().getStatusCode();
        }
        return Arrays.asList(found);
    }

    static List<CosmosItemOperation> creations(int count, String text) {
        return range(count).stream().map(i -> CosmosBulkOperations.getCreateItemOperation(
            item("id", "" + i, "pk", "key " + i, "n", 1, "text", text), key("key " + i))).collect(Collectors.toList());
    }

    static void bulks() throws Exception {
        CosmosContainer c = container();
        same(run(c, creations(250, "")), Collections.nCopies(250, 201));
        CosmosPatchOperations more = CosmosPatchOperations.create().increment("/n", 5);
        same(run(c, List.of(
            CosmosBulkOperations.getCreateItemOperation(item("id", "0", "pk", "key 0"), key("key 0")),
            CosmosBulkOperations.getUpsertItemOperation(item("id", "1", "pk", "key 1"), key("key 1")),
            CosmosBulkOperations.getUpsertItemOperation(item("id", "new", "pk", "x"), key("x")),
            CosmosBulkOperations.getReadItemOperation("2", key("key 2")),
            CosmosBulkOperations.getReadItemOperation("none", key("x")),
            CosmosBulkOperations.getReplaceItemOperation("3", item("id", "3", "pk", "key 3"), key("key 3")),
            CosmosBulkOperations.getDeleteItemOperation("4", key("key 4")),
            CosmosBulkOperations.getDeleteItemOperation("5", key("key 5"),
                new CosmosBulkItemRequestOptions().setIfMatchETag("\"other\"")),
            CosmosBulkOperations.getPatchItemOperation("6", key("key 6"), more))),
            List.of(409, 200, 201, 200, 404, 200, 204, 412, 200));
        same(read(c, "6", "key 6").get("n").asInt(), 6);
    }

    static void bulksInTrouble() throws Exception {
        CosmosContainer throttled = container();
        emulator("faults", Map.of("status", 429, "sub_status", 3200, "count", 30, "retry_after_ms", 1, "kind",
            "batched_create_item", "path", "colls/" + throttled.getId() + "/"));
        same(run(throttled, creations(150, "")), Collections.nCopies(150, 201));
        CosmosContainer large = container();
        same(run(large, creations(30, "x".repeat(100000))), Collections.nCopies(30, 201));
        CosmosContainer c = container();
        same(run(c, creations(20, "")), Collections.nCopies(20, 201));
        split(c, "0", "1", "2");
        same(run(c, creations(120, "").subList(20, 120)), Collections.nCopies(100, 201));
        same(list(c.queryItems("SELECT * FROM c", null, JsonNode.class)).size(), 120);
    }

    // ------------------------------------------------------------------------------------- users, scripts, conflicts

    static void users() throws Exception {
        client.createDatabase("peopled java");
        CosmosDatabase peopled = client.getDatabase("peopled java");
        same(peopled.createUser(new CosmosUserProperties().setId("ann")).getStatusCode(), 201);
        refused(409, () -> peopled.createUser(new CosmosUserProperties().setId("ann")));
        same(peopled.upsertUser(new CosmosUserProperties().setId("bob")).getStatusCode(), 201);
        same(peopled.upsertUser(new CosmosUserProperties().setId("bob")).getStatusCode(), 200);
        same(list(peopled.readAllUsers()).size(), 2);
        same(list(peopled.queryUsers("SELECT * FROM u WHERE u.id > 'ann'")).get(0).getId(), "bob");
        CosmosUserProperties ann = peopled.getUser("ann").read().getProperties();
        same(peopled.getUser("ann").replace(ann.setId("amy")).getProperties().getId(), "amy");
        refused(404, () -> peopled.getUser("ann").read());
        peopled.getUser("amy").delete();
        peopled.delete();
    }

    static void permissions() throws Exception {
        CosmosContainer c = container();
        c.createItem(item("id", "1", "pk", "a"));
        database.createUser(new CosmosUserProperties().setId("cid"));
        CosmosAsyncUser user = asyncClient.getDatabase(database.getId()).getUser("cid");
        CosmosPermissionProperties reads = new CosmosPermissionProperties().setId("reads")
            .setPermissionMode(PermissionMode.READ).setContainerName(c.getId());
        var made = user.createPermission(reads, null).block();
        same(made.getStatusCode(), 201);
        refused(409, () -> user.createPermission(reads, null).block());
        CosmosPermissionProperties one = new CosmosPermissionProperties().setId("one key")
            .setPermissionMode(PermissionMode.ALL).setContainerName(c.getId()).setResourcePartitionKey(key("b"));
        same(user.upsertPermission(one, null).block().getStatusCode(), 201);
        same(user.upsertPermission(one, null).block().getStatusCode(), 200);
        same(user.readAllPermissions().collectList().block().size(), 2);
        same(user.queryPermissions("SELECT * FROM p WHERE p.id = 'reads'").collectList().block().size(), 1);
        try (CosmosClient guest = builder(ENDPOINT).resourceToken(made.getProperties().getToken()).buildClient()) {
            CosmosContainer seen = guest.getDatabase(database.getId()).getContainer(c.getId());
            same(read(seen, "1", "a").get("id").asText(), "1");
            refused(403, () -> seen.createItem(item("id", "2", "pk", "a")));
        }
        // Not by permissions(...): of tokens given so it finds none for the ranges, which it asks for by _rids.
        String narrow = user.getPermission("one key").read(null).block().getProperties().getToken();
        try (CosmosClient guest = builder(ENDPOINT).resourceToken(narrow).buildClient()) {
            CosmosContainer seen = guest.getDatabase(database.getId()).getContainer(c.getId());
            same(seen.createItem(item("id", "2", "pk", "b"), key("b"), null).getStatusCode(), 201);
            refused(403, () -> seen.createItem(item("id", "2", "pk", "a"), key("a"), null));
        }
        CosmosPermissionProperties more = made.getProperties().setPermissionMode(PermissionMode.ALL);
        same(user.getPermission("reads").replace(more, null).block().getProperties().getPermissionMode(),
            PermissionMode.ALL);
        user.getPermission("reads").delete(null).block();
        refused(404, () -> user.getPermission("reads").read(null).block());
        user.delete().block();
    }

    static void scripts() throws Exception {
        var scripts = container().getScripts();
        scripts.createStoredProcedure(new CosmosStoredProcedureProperties("one", "function one() {}"));
        refused(409, () -> scripts.createStoredProcedure(new CosmosStoredProcedureProperties("one", "")));
        var procedure = scripts.getStoredProcedure("one");
        procedure.replace(procedure.read().getProperties().setBody("function two() {}"));
        same(list(scripts.readAllStoredProcedures()).get(0).getBody(), "function two() {}");
        same(list(scripts.queryStoredProcedures("SELECT * FROM c WHERE c.id = 'one'", null)).size(), 1);
        procedure.delete();
        scripts.createTrigger(new CosmosTriggerProperties("one", "function one() {}")
            .setTriggerOperation(TriggerOperation.CREATE).setTriggerType(TriggerType.PRE));
        same(list(scripts.readAllTriggers()).size(), 1);
        scripts.getTrigger("one").delete();
        scripts.createUserDefinedFunction(new CosmosUserDefinedFunctionProperties("one", "function one() {}"));
        same(list(scripts.readAllUserDefinedFunctions()).size(), 1);
        scripts.getUserDefinedFunction("one").delete();
        refused(404, () -> scripts.getTrigger("one").read());
    }

    static void noConflicts() {
        CosmosAsyncContainer c = async(container());
        same(c.readAllConflicts(new CosmosQueryRequestOptions()).collectList().block().size(), 0);
        same(c.queryConflicts("SELECT * FROM c").collectList().block().size(), 0);
    }

    // ----------------------------------------------------------------------------------------------------------- run

    static final Map<String, Test> TESTS = new LinkedHashMap<>();

    static {
        TESTS.put("a wrong key", Java::aWrongKey);
        TESTS.put("over TLS", Java::overTLS);
        TESTS.put("Entra tokens", Java::entraTokens);
        TESTS.put("databases", Java::databases);
        TESTS.put("odd names", Java::oddNames);
        TESTS.put("containers", Java::containers);
        TESTS.put("definitions", Java::definitions);
        TESTS.put("throughput", Java::throughput);
        TESTS.put("items", Java::items);
        TESTS.put("refusals", Java::refusals);
        TESTS.put("ETags", Java::etags);
        TESTS.put("partition keys", Java::partitionKeys);
        TESTS.put("hierarchical keys", Java::hierarchicalKeys);
        TESTS.put("odd ids", Java::oddIds);
        TESTS.put("patches", Java::patches);
        TESTS.put("session tokens", Java::sessionTokens);
        TESTS.put("while the service is busy", Java::aBusyService);
        TESTS.put("all of a key are deleted", Java::allOfAKeyAreDeleted);
        TESTS.put("queries", Java::queries);
        TESTS.put("pages", Java::pages);
        TESTS.put("feed ranges and a split", Java::feedRangesAndASplit);
        TESTS.put("reading many", Java::readingMany);
        TESTS.put("the change feed", Java::theChangeFeed);
        TESTS.put("all versions and deletes", Java::allVersionsAndDeletes);
        TESTS.put("the change feed processor", Java::theChangeFeedProcessor);
        TESTS.put("the processor of all versions", Java::theProcessorOfAllVersions);
        TESTS.put("batches", Java::batches);
        TESTS.put("batches are all or nothing", Java::undoneBatches);
        TESTS.put("bulks", Java::bulks);
        TESTS.put("bulks in trouble", Java::bulksInTrouble);
        TESTS.put("users", Java::users);
        TESTS.put("permissions and resource tokens", Java::permissions);
        TESTS.put("scripts", Java::scripts);
        TESTS.put("no conflicts", Java::noConflicts);
    }

    /** Trusts the authority of INTEROP_CA, and lets the SDK speak without TLS, to an emulator. */
    static void prepare() throws Exception {
        Path file = Files.createTempFile("interop", ".p12");
        file.toFile().deleteOnExit();
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream from = Files.newInputStream(Path.of(System.getenv("INTEROP_CA")))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(from));
        }
        try (OutputStream to = Files.newOutputStream(file)) {
            store.store(to, "interop".toCharArray());
        }
        System.setProperty("javax.net.ssl.trustStore", file.toString());
        System.setProperty("javax.net.ssl.trustStorePassword", "interop");
        System.setProperty("COSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED", "true");
    }

    static boolean passes(String name, Test test) {
        long from = System.nanoTime();
        try {
            test.run();
            if (System.getenv("INTEROP_TIMES") != null)
                System.out.printf("java: %s: %d ms%n", name, (System.nanoTime() - from) / 1000000);
            return true;
        } catch (Throwable error) {
            System.out.println("java: " + name + " failed: " + error.getMessage());
            error.printStackTrace(System.out);
            return false;
        }
    }

    public static void main(String[] wanted) throws Exception {
        prepare();
        client = builder(ENDPOINT).key(KEY).buildClient();
        asyncClient = builder(ENDPOINT).key(KEY).buildAsyncClient();
        client.createDatabase("interop java");
        database = client.getDatabase("interop java");
        int passed = 0, failed = 0;
        for (Map.Entry<String, Test> test : TESTS.entrySet()) {
            if (wanted.length > 0 && Arrays.stream(wanted).noneMatch(test.getKey()::contains)) continue;
            if (passes(test.getKey(), test.getValue())) passed++;
            else failed++;
        }
        database.delete();
        System.out.println("java: " + passed + " passed, " + failed + " failed");
        System.exit(failed > 0 ? 1 : 0);
    }
}
