// The official Go SDK against our emulator. AIOCOSMOS_EMULATOR and AIOCOSMOS_EMULATOR_TLS are two emulators; INTEROP_CA
// is the authority of the second one's certificate, and it knows the Entra token AIOCOSMOS_EMULATOR_TOKEN. Arguments:
// only the tests whose names contain one of them. This SDK has no bulk, users or permissions.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

const key = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

var (
	endpoint = os.Getenv("AIOCOSMOS_EMULATOR")
	secure   = os.Getenv("AIOCOSMOS_EMULATOR_TLS")
	ctx      = context.Background()
	client   *azcosmos.Client
	database *azcosmos.DatabaseClient
	made     int
)

type item = map[string]any

type failure string

func check(holds bool, format string, values ...any) {
	if !holds {
		panic(failure(fmt.Sprintf(format, values...) + "\n" + string(debug.Stack())))
	}
}

func ok(err error) {
	check(err == nil, "%v", err)
}

func must[T any](value T, err error) T {
	ok(err)
	return value
}

func same(found, expected any) {
	check(reflect.DeepEqual(found, expected), "%v is not %v", found, expected)
}

// refused checks that something failed, so.
func refused(err error, status int) {
	var answer *azcore.ResponseError
	check(errors.As(err, &answer), "not refused with %d: %v", status, err)
	check(answer.StatusCode == status, "refused with %d, not %d: %v", answer.StatusCode, status, err)
}

// emulator tells the emulator to do something that no client can ask for.
func emulator(what string, body any) {
	request := must(http.NewRequest(http.MethodPut, endpoint+"_emulator/"+what, bytes.NewReader(text(body))))
	answer := must(http.DefaultClient.Do(request))
	answer.Body.Close()
	check(answer.StatusCode < 300, "%s: %s", what, answer.Status)
}

func text(value any) []byte {
	return must(json.Marshal(value))
}

func parsed(bytes []byte) (value item) {
	ok(json.Unmarshal(bytes, &value))
	return value
}

func connect(credential string) *azcosmos.Client {
	return must(azcosmos.NewClientWithKey(endpoint, must(azcosmos.NewKeyCredential(credential)), nil))
}

// overTLS has a transport that knows the authority.
func overTLS() *azcosmos.ClientOptions {
	pool := x509.NewCertPool()
	check(pool.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("INTEROP_CA")))), "no certificate")
	options := &azcosmos.ClientOptions{}
	options.Transport = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return options
}

func byPaths(paths ...string) azcosmos.PartitionKeyDefinition {
	kind := azcosmos.PartitionKeyKindHash
	if len(paths) > 1 {
		kind = azcosmos.PartitionKeyKindMultiHash
	}
	return azcosmos.PartitionKeyDefinition{Kind: kind, Paths: paths, Version: 2}
}

// container makes one, by /pk unless other paths are given.
func container(paths ...string) *azcosmos.ContainerClient {
	if len(paths) == 0 {
		paths = []string{"/pk"}
	}
	return containerOf(database, azcosmos.ContainerProperties{PartitionKeyDefinition: byPaths(paths...)}, nil)
}

func containerOf(owner *azcosmos.DatabaseClient, properties azcosmos.ContainerProperties,
	throughput *azcosmos.ThroughputProperties) *azcosmos.ContainerClient {
	made++
	if properties.ID == "" {
		properties.ID = fmt.Sprintf("c%d", made)
	}
	options := azcosmos.CreateContainerOptions{ThroughputProperties: throughput}
	must(owner.CreateContainer(ctx, properties, &options))
	return must(owner.NewContainer(properties.ID))
}

func str(value string) azcosmos.PartitionKey {
	return azcosmos.NewPartitionKeyString(value)
}

func create(c *azcosmos.ContainerClient, key azcosmos.PartitionKey, value item) azcosmos.ItemResponse {
	return must(c.CreateItem(ctx, key, text(value), nil))
}

func read(c *azcosmos.ContainerClient, key azcosmos.PartitionKey, id string) item {
	return parsed(must(c.ReadItem(ctx, key, id, nil)).Value)
}

func withNumbers(count int) *azcosmos.ContainerClient {
	c := container()
	for i := range count {
		pk := fmt.Sprintf("p%d", i%9)
		create(c, str(pk), item{"id": fmt.Sprint(i), "pk": pk, "n": i})
	}
	return c
}

func numbers(count int) (list []int) {
	for i := range count {
		list = append(list, i)
	}
	return list
}

func sorted(list []int) []int {
	sort.Ints(list)
	return list
}

// ---------------------------------------------------------------------------------------------------------- account

func account() {
	_, err := connect("bm90IHRoZSBrZXk=").CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "x"}, nil)
	refused(err, 401)
	text := "AccountEndpoint=" + endpoint + ";AccountKey=" + key + ";"
	named := must(azcosmos.NewClientFromConnectionString(text, nil))
	same(must(must(named.NewDatabase(database.ID())).Read(ctx, nil)).DatabaseProperties.ID, database.ID())
}

func transport() {
	other := must(azcosmos.NewClientWithKey(secure, must(azcosmos.NewKeyCredential(key)), overTLS()))
	must(other.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "tls go"}, nil))
	owner := must(other.NewDatabase("tls go"))
	c := containerOf(owner, azcosmos.ContainerProperties{PartitionKeyDefinition: byPaths("/pk")}, nil)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			defer func() { recover() }()
			create(c, str("a"), item{"id": fmt.Sprint(i), "pk": "a", "text": strings.Repeat("x", 1000*i)})
		})
	}
	all.Wait()
	same(len(rowsOf(c, str("a"), "SELECT VALUE c.id FROM c", nil)), 40)
	same(len(read(c, str("a"), "39")["text"].(string)), 39000)
	must(owner.Delete(ctx, nil))
}

type fixed struct{}

func (fixed) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token := os.Getenv("AIOCOSMOS_EMULATOR_TOKEN")
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func entra() {
	owner := must(azcosmos.NewClientWithKey(secure, must(azcosmos.NewKeyCredential(key)), overTLS()))
	must(owner.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "entra go"}, nil))
	entra := must(owner.NewDatabase("entra go"))
	c := containerOf(entra, azcosmos.ContainerProperties{PartitionKeyDefinition: byPaths("/pk")}, nil)
	guest := must(azcosmos.NewClient(secure, fixed{}, overTLS()))
	seen := must(guest.NewContainer("entra go", c.ID()))
	create(seen, str("a"), item{"id": "1", "pk": "a"})
	same(read(seen, str("a"), "1")["id"], "1")
	_, err := guest.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "not with this"}, nil)
	refused(err, 403)
	must(entra.Delete(ctx, nil))
}

// ------------------------------------------------------------------------------------------- databases and containers

func databases() {
	answer := must(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "one go"}, nil))
	same(answer.RawResponse.StatusCode, 201)
	check(answer.RequestCharge > 0 && len(answer.ActivityID) == 36, "%v %v", answer.RequestCharge, answer.ActivityID)
	_, err := client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "one go"}, nil)
	refused(err, 409)
	one := must(client.NewDatabase("one go"))
	same(must(one.Read(ctx, nil)).DatabaseProperties.ResourceID, answer.DatabaseProperties.ResourceID)
	ids := func(query string, parameters ...azcosmos.QueryParameter) (ids []string) {
		pager := client.NewQueryDatabasesPager(query, &azcosmos.QueryDatabasesOptions{QueryParameters: parameters})
		for pager.More() {
			for _, found := range must(pager.NextPage(ctx)).Databases {
				ids = append(ids, found.ID)
			}
		}
		return ids
	}
	check(len(ids("SELECT * FROM c")) >= 2, "too few databases")
	named := azcosmos.QueryParameter{Name: "@id", Value: "one go"}
	same(ids("SELECT * FROM c WHERE c.id = @id", named), []string{"one go"})
	must(one.Delete(ctx, nil))
	_, err = one.Read(ctx, nil)
	refused(err, 404)
}

func oddNames() {
	for _, id := range []string{"a b", "ü 100% + c", "日本語", "a&b=c;d,e"} {
		must(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, nil))
		owner := must(client.NewDatabase(id))
		same(must(owner.Read(ctx, nil)).DatabaseProperties.ID, id)
		c := containerOf(owner, azcosmos.ContainerProperties{ID: id, PartitionKeyDefinition: byPaths("/pk")}, nil)
		create(c, str(id), item{"id": id, "pk": id})
		same(read(c, str(id), id)["pk"], id)
		same(len(rowsOf(c, str(id), "SELECT * FROM c", nil)), 1)
		must(owner.Delete(ctx, nil))
	}
}

func containers() {
	properties := azcosmos.ContainerProperties{ID: "crud", PartitionKeyDefinition: byPaths("/pk")}
	c := containerOf(database, properties, nil)
	_, err := database.CreateContainer(ctx, properties, nil)
	refused(err, 409)
	found := must(c.Read(ctx, nil)).ContainerProperties
	same(found.PartitionKeyDefinition.Paths, []string{"/pk"})
	same(string(found.IndexingPolicy.IndexingMode), "consistent")
	parameters := []azcosmos.QueryParameter{{Name: "@id", Value: "crud"}}
	pager := database.NewQueryContainersPager("SELECT * FROM c WHERE c.id = @id",
		&azcosmos.QueryContainersOptions{QueryParameters: parameters})
	same(len(must(pager.NextPage(ctx)).Containers), 1)
	seconds := int32(100)
	found.DefaultTimeToLive = &seconds
	same(*must(c.Replace(ctx, *found, nil)).ContainerProperties.DefaultTimeToLive, seconds)
	found.PartitionKeyDefinition = byPaths("/other")
	_, err = c.Replace(ctx, *found, nil)
	refused(err, 400)
	must(c.Delete(ctx, nil))
	_, err = c.Read(ctx, nil)
	refused(err, 404)
}

func definitions() {
	wanted := azcosmos.ContainerProperties{
		PartitionKeyDefinition: byPaths("/tenant", "/user/id", "/day"),
		UniqueKeyPolicy:        &azcosmos.UniqueKeyPolicy{UniqueKeys: []azcosmos.UniqueKey{{Paths: []string{"/email"}}}},
		ConflictResolutionPolicy: &azcosmos.ConflictResolutionPolicy{
			Mode: azcosmos.ConflictResolutionModeLastWriteWins, ResolutionPath: "/_ts"},
		IndexingPolicy: &azcosmos.IndexingPolicy{
			Automatic: true, IndexingMode: azcosmos.IndexingModeConsistent,
			IncludedPaths: []azcosmos.IncludedPath{{Path: "/a/*"}}, ExcludedPaths: []azcosmos.ExcludedPath{{Path: "/*"}},
			CompositeIndexes: [][]azcosmos.CompositeIndex{{
				{Path: "/a", Order: azcosmos.CompositeIndexAscending},
				{Path: "/b", Order: azcosmos.CompositeIndexDescending}}},
		},
	}
	found := must(containerOf(database, wanted, nil).Read(ctx, nil)).ContainerProperties
	same(found.PartitionKeyDefinition, wanted.PartitionKeyDefinition)
	same(found.UniqueKeyPolicy, wanted.UniqueKeyPolicy)
	same(found.ConflictResolutionPolicy.ResolutionPath, "/_ts")
	same(found.IndexingPolicy.IncludedPaths, wanted.IndexingPolicy.IncludedPaths)
	same(found.IndexingPolicy.CompositeIndexes, wanted.IndexingPolicy.CompositeIndexes)
}

// paid is what has throughput: a database or a container.
type paid interface {
	ReadThroughput(context.Context, *azcosmos.ThroughputOptions) (azcosmos.ThroughputResponse, error)
	ReplaceThroughput(context.Context, azcosmos.ThroughputProperties,
		*azcosmos.ThroughputOptions) (azcosmos.ThroughputResponse, error)
}

func throughput() {
	manual, auto := azcosmos.NewManualThroughputProperties(500), azcosmos.NewAutoscaleThroughputProperties(4000)
	databaseOf := func(id string, throughput azcosmos.ThroughputProperties) *azcosmos.DatabaseClient {
		options := azcosmos.CreateDatabaseOptions{ThroughputProperties: &throughput}
		must(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: id}, &options))
		return must(client.NewDatabase(id))
	}
	one, two := databaseOf("manual go", manual), databaseOf("auto go", auto)
	definition := azcosmos.ContainerProperties{PartitionKeyDefinition: byPaths("/pk")}
	for _, of := range []paid{one, containerOf(database, definition, &manual)} {
		found := must(of.ReadThroughput(ctx, nil))
		amount, _ := found.ThroughputProperties.ManualThroughput()
		same(amount, int32(500))
		check(found.MinThroughput != nil && *found.MinThroughput == 400, "no least throughput")
		answer := must(of.ReplaceThroughput(ctx, azcosmos.NewManualThroughputProperties(700), nil))
		amount, _ = answer.ThroughputProperties.ManualThroughput()
		same(amount, int32(700))
		check(!answer.IsReplacePending, "pending")
		_, err := of.ReplaceThroughput(ctx, azcosmos.NewManualThroughputProperties(123), nil)
		refused(err, 400)
		stale := azcore.ETag("\"other\"")
		_, err = of.ReplaceThroughput(ctx, manual, &azcosmos.ThroughputOptions{IfMatchEtag: &stale})
		refused(err, 412)
	}
	for _, of := range []paid{two, containerOf(database, definition, &auto)} {
		most, _ := must(of.ReadThroughput(ctx, nil)).ThroughputProperties.AutoscaleMaxThroughput()
		same(most, int32(4000))
		must(of.ReplaceThroughput(ctx, azcosmos.NewAutoscaleThroughputProperties(6000), nil))
		most, _ = must(of.ReadThroughput(ctx, nil)).ThroughputProperties.AutoscaleMaxThroughput()
		same(most, int32(6000))
	}
	must(one.Delete(ctx, nil))
	must(two.Delete(ctx, nil))
	_, err := database.ReadThroughput(ctx, nil)
	refused(err, 404)
}

// ------------------------------------------------------------------------------------------------------------ items

func items() {
	c, a := container(), str("a")
	letters := item{"id": "letters", "pk": "a", "s": "é\u0000\u2028\"\\/😀", "n": -0.5, "big": 1e300, "t": true,
		"z": nil, "list": []any{1.0, []any{2.0, item{}}}}
	answer := must(c.CreateItem(ctx, a, text(letters), &azcosmos.ItemOptions{EnableContentResponseOnWrite: true}))
	same(answer.RawResponse.StatusCode, 201)
	found := parsed(answer.Value)
	same(string(answer.ETag), found["_etag"])
	check(answer.RequestCharge > 0 && answer.SessionToken != nil, "no charge or token")
	same(read(c, a, "letters"), found)
	for name, value := range letters {
		same(found[name], value)
	}
	same(len(create(c, a, item{"id": "quiet", "pk": "a"}).Value), 0)
	letters["n"] = 2.0
	must(c.ReplaceItem(ctx, a, "letters", text(letters), nil))
	same(read(c, a, "letters")["n"], 2.0)
	same(must(c.UpsertItem(ctx, a, text(item{"id": "letters", "pk": "a"}), nil)).RawResponse.StatusCode, 200)
	same(must(c.UpsertItem(ctx, a, text(item{"id": "new", "pk": "a"}), nil)).RawResponse.StatusCode, 201)
	same(must(c.DeleteItem(ctx, a, "letters", nil)).RawResponse.StatusCode, 204)
	_, err := c.ReadItem(ctx, a, "letters", nil)
	refused(err, 404)
}

func refusals() {
	c, a := container(), str("a")
	create(c, a, item{"id": "1", "pk": "a"})
	body := func(id string) []byte { return text(item{"id": id, "pk": "a"}) }
	_, err := c.CreateItem(ctx, a, body("1"), nil)
	refused(err, 409)
	check(strings.Contains(err.Error(), "already exists"), "%v", err)
	_, err = c.ReplaceItem(ctx, a, "2", body("2"), nil)
	refused(err, 404)
	_, err = c.DeleteItem(ctx, str("b"), "1", nil)
	refused(err, 404)
	_, err = c.CreateItem(ctx, str("b"), body("2"), nil)
	refused(err, 400)
	_, err = c.CreateItem(ctx, a, body(strings.Repeat("too long", 200)), nil)
	refused(err, 400)
	_, err = c.CreateItem(ctx, a, text(item{"id": "2", "pk": "a", "text": strings.Repeat("x", 2<<20)}), nil)
	refused(err, 413)
	_, err = must(database.NewContainer("none")).ReadItem(ctx, a, "1", nil)
	refused(err, 404)
}

func etags() {
	c, a := container(), str("a")
	first := create(c, a, item{"id": "1", "pk": "a", "n": 1}).ETag
	other, body := azcore.ETag("\"other\""), text(item{"id": "1", "pk": "a", "n": 2})
	stale := &azcosmos.ItemOptions{IfMatchEtag: &other}
	increment := azcosmos.PatchOperations{}
	increment.AppendIncrement("/n", 1)
	_, err := c.ReplaceItem(ctx, a, "1", body, stale)
	refused(err, 412)
	_, err = c.UpsertItem(ctx, a, body, stale)
	refused(err, 412)
	_, err = c.PatchItem(ctx, a, "1", increment, stale)
	refused(err, 412)
	_, err = c.DeleteItem(ctx, a, "1", stale)
	refused(err, 412)
	second := must(c.ReplaceItem(ctx, a, "1", body, &azcosmos.ItemOptions{IfMatchEtag: &first})).ETag
	must(c.DeleteItem(ctx, a, "1", &azcosmos.ItemOptions{IfMatchEtag: &second}))
}

func partitionKeys() {
	c := container()
	keys := map[azcosmosKey]any{}
	// No "😀": the SDK writes it with \U, which is no JSON.
	for _, value := range []any{"a", "", "ü\"\\", strings.Repeat("x", 1500), 0.0, -0.5, 1e21, 1.7976931348623157e308,
		12345678901234567890.0, true, false, nil} {
		keys[azcosmosKey{value}] = value
	}
	for of, value := range keys {
		create(c, of.key(), item{"id": "same", "pk": value})
		same(read(c, of.key(), "same")["pk"], value)
		same(len(rowsOf(c, of.key(), "SELECT * FROM c", nil)), 1)
	}
	all := must(c.ReadManyItems(ctx, identities("same", keys), nil)).Items
	same(len(all), len(keys))
	for of := range keys {
		must(c.DeleteItem(ctx, of.key(), "same", nil))
	}
}

type azcosmosKey struct{ value any }

func (k azcosmosKey) key() azcosmos.PartitionKey {
	switch value := k.value.(type) {
	case string:
		return azcosmos.NewPartitionKeyString(value)
	case float64:
		return azcosmos.NewPartitionKeyNumber(value)
	case bool:
		return azcosmos.NewPartitionKeyBool(value)
	}
	return azcosmos.NullPartitionKey
}

func identities(id string, keys map[azcosmosKey]any) (list []azcosmos.ItemIdentity) {
	for of := range keys {
		list = append(list, azcosmos.ItemIdentity{ID: id, PartitionKey: of.key()})
	}
	return list
}

func hierarchicalKeys() {
	c := container("/tenant", "/user", "/n")
	for _, tenant := range []string{"t1", "t2"} {
		for _, user := range []string{"u1", "u2"} {
			for _, n := range []float64{1, 2} {
				whole := azcosmos.NewPartitionKey().AppendString(tenant).AppendString(user).AppendNumber(n)
				create(c, whole, item{"id": "same", "tenant": tenant, "user": user, "n": n})
			}
		}
	}
	whole := azcosmos.NewPartitionKey().AppendString("t1").AppendString("u2").AppendNumber(2)
	same(read(c, whole, "same")["user"], "u2")
	same(len(rowsOf(c, whole, "SELECT * FROM c", nil)), 1)
	null := azcosmos.NewPartitionKey().AppendString("t1").AppendString("u2").AppendNull()
	create(c, null, item{"id": "null", "tenant": "t1", "user": "u2", "n": nil})
	many := []azcosmos.ItemIdentity{{ID: "same", PartitionKey: whole}, {ID: "null", PartitionKey: null}}
	same(len(must(c.ReadManyItems(ctx, many, nil)).Items), 2)
	_, err := c.DeleteItem(ctx, azcosmos.NewPartitionKey().AppendString("t1"), "same", nil)
	refused(err, 400)
}

func oddIDs() {
	c, a := container(), str("a")
	ids := []string{"a b", "100%", "%41", "%2F", "a+b", "a&b=c", "ü", "日本語😀", "'\"`", "a;b,c", "<x>", "a@b:c",
		"~!$*()[]{}|^", strings.Repeat("x", 255), "a=", "%"}
	for _, id := range ids {
		create(c, a, item{"id": id, "pk": "a"})
		same(read(c, a, id)["id"], id)
		must(c.ReplaceItem(ctx, a, id, text(item{"id": id, "pk": "a", "n": 1}), nil))
		must(c.DeleteItem(ctx, a, id, nil))
	}
}

func patches() {
	c, a := container(), str("a")
	create(c, a, item{"id": "1", "pk": "a", "n": 1, "list": []int{1, 2, 3}, "o": item{"x": 1}, "gone": true})
	patch := azcosmos.PatchOperations{}
	patch.AppendAdd("/list/1", "between")
	patch.AppendSet("/o/y", "é")
	patch.AppendReplace("/o/x", 2)
	patch.AppendIncrement("/n", 2)
	patch.AppendRemove("/gone")
	full := &azcosmos.ItemOptions{EnableContentResponseOnWrite: true}
	found := parsed(must(c.PatchItem(ctx, a, "1", patch, full)).Value)
	same(found["n"], 3.0)
	same(found["list"], []any{1.0, "between", 2.0, 3.0})
	same(found["o"], item{"x": 2.0, "y": "é"})
	check(found["gone"] == nil, "still there")
	conditional := azcosmos.PatchOperations{}
	conditional.AppendSet("/ok", true)
	conditional.SetCondition("from c where c.n > 3")
	_, err := c.PatchItem(ctx, a, "1", conditional, nil)
	refused(err, 412)
	conditional.SetCondition("from c where c.n > 2")
	must(c.PatchItem(ctx, a, "1", conditional, nil))
	same(read(c, a, "1")["ok"], true)
}

func sessionTokens() {
	c, a := container(), str("a")
	token := create(c, a, item{"id": "1", "pk": "a"}).SessionToken
	must(c.ReadItem(ctx, a, "1", &azcosmos.ItemOptions{SessionToken: token}))
	seen := must(connect(key).NewContainer(database.ID(), c.ID()))
	must(seen.ReadItem(ctx, a, "1", &azcosmos.ItemOptions{SessionToken: token}))
	eventual := azcosmos.ConsistencyLevelEventual
	must(c.ReadItem(ctx, a, "1", &azcosmos.ItemOptions{ConsistencyLevel: &eventual}))
	strong := azcosmos.ConsistencyLevelStrong
	_, err := c.ReadItem(ctx, a, "1", &azcosmos.ItemOptions{ConsistencyLevel: &strong})
	refused(err, 400)
}

func busy() {
	c, a := container(), str("a")
	emulator("faults", item{"status": 429, "sub_status": 3200, "count": 3, "retry_after_ms": 1,
		"path": "colls/" + c.ID() + "/docs"})
	answer := create(c, a, item{"id": "1", "pk": "a"})
	same(answer.RawResponse.StatusCode, 201)
	check(answer.Diagnostics.FailedRequestCount() == 3, "%d failed", answer.Diagnostics.FailedRequestCount())
	emulator("faults", []item{})
}

// ---------------------------------------------------------------------------------------------------------- queries

func rowsOf(c *azcosmos.ContainerClient, key azcosmos.PartitionKey, query string,
	options *azcosmos.QueryOptions) (rows [][]byte) {
	pager := c.NewQueryItemsPager(query, key, options)
	for pager.More() {
		rows = append(rows, must(pager.NextPage(ctx)).Items...)
	}
	return rows
}

func ints(rows [][]byte) (list []int) {
	for _, row := range rows {
		var number int
		ok(json.Unmarshal(row, &number))
		list = append(list, number)
	}
	return list
}

func queries() {
	c := withNumbers(60)
	of := func(query string, parameters ...azcosmos.QueryParameter) []int {
		return ints(rowsOf(c, str("p4"), query, &azcosmos.QueryOptions{QueryParameters: parameters}))
	}
	same(of("SELECT VALUE c.n FROM c"), []int{4, 13, 22, 31, 40, 49, 58})
	same(of("SELECT VALUE c.n FROM c WHERE c.n > 20 ORDER BY c.n DESC"), []int{58, 49, 40, 31, 22})
	same(of("SELECT VALUE COUNT(1) FROM c"), []int{7})
	same(of("SELECT TOP 2 VALUE c.n FROM c"), []int{4, 13})
	same(of("SELECT VALUE c.n FROM c WHERE ARRAY_CONTAINS(@list, c.n) AND c.id != @id",
		azcosmos.QueryParameter{Name: "@list", Value: []int{4, 13, 22, 23}},
		azcosmos.QueryParameter{Name: "@id", Value: "13"}), []int{4, 22})
	_, err := c.NewQueryItemsPager("SELECT * FORM c", str("p4"), nil).NextPage(ctx)
	refused(err, 400)
}

func pages() {
	c := withNumbers(60)
	var found []int
	var token *string
	count := 0
	for {
		options := &azcosmos.QueryOptions{PageSizeHint: 2, ContinuationToken: token}
		page := must(c.NewQueryItemsPager("SELECT VALUE c.n FROM c ORDER BY c.n", str("p4"), options).NextPage(ctx))
		check(len(page.Items) <= 2, "%d rows", len(page.Items))
		found = append(found, ints(page.Items)...)
		count++
		if token = page.ContinuationToken; token == nil {
			break
		}
	}
	same(found, []int{4, 13, 22, 31, 40, 49, 58})
	check(count >= 4, "%d pages", count)
	nonsense := "nonsense"
	_, err := c.NewQueryItemsPager("SELECT * FROM c", str("p4"),
		&azcosmos.QueryOptions{ContinuationToken: &nonsense}).NextPage(ctx)
	refused(err, 400)
}

// What needs a client that merges is refused, and this one does not.
func acrossPartitions() {
	c := withNumbers(60)
	everywhere := azcosmos.NewPartitionKey()
	found := ints(rowsOf(c, everywhere, "SELECT VALUE c.n FROM c", &azcosmos.QueryOptions{PageSizeHint: 7}))
	same(sorted(found), numbers(60))
	found = ints(rowsOf(c, everywhere, "SELECT VALUE c.n FROM c WHERE c.n < 7", nil))
	same(sorted(found), numbers(7))
	_, err := c.NewQueryItemsPager("SELECT VALUE c.n FROM c ORDER BY c.n", everywhere, nil).NextPage(ctx)
	refused(err, 400)
	no := false
	_, err = c.NewQueryItemsPager("SELECT VALUE c.n FROM c", everywhere,
		&azcosmos.QueryOptions{EnableCrossPartitionQuery: &no}).NextPage(ctx)
	refused(err, 400)
}

func readingMany() {
	c := withNumbers(60)
	var wanted []azcosmos.ItemIdentity
	for i := 0; i < 60; i += 2 {
		wanted = append(wanted, azcosmos.ItemIdentity{ID: fmt.Sprint(i), PartitionKey: str(fmt.Sprintf("p%d", i%9))})
	}
	wanted = append(wanted, azcosmos.ItemIdentity{ID: "none", PartitionKey: str("p1")},
		azcosmos.ItemIdentity{ID: "1", PartitionKey: str("of another")})
	answer := must(c.ReadManyItems(ctx, wanted, nil))
	check(answer.RequestCharge > 0, "no charge")
	var found []int
	for _, one := range answer.Items {
		found = append(found, int(parsed(one)["n"].(float64))/2)
	}
	same(sorted(found), numbers(30))
	emulator("split", item{"database": database.ID(), "container": c.ID(), "range": "0"})
	same(len(must(c.ReadManyItems(ctx, wanted, nil)).Items), 30)
}

// -------------------------------------------------------------------------------------------------- the change feed

// drain reads on until nothing is new in any range, and returns the ids and where that was.
func drain(c *azcosmos.ContainerClient, options azcosmos.ChangeFeedOptions) (found []int, token string) {
	options.MaxItemCount = 5
	if options.FeedRange == nil && options.Continuation == nil {
		options.FeedRange = &azcosmos.FeedRange{MaxExclusive: "FF"}
	}
	for empty := 0; empty < 2; {
		answer := must(c.ReadChangeFeed(ctx, &options))
		for _, one := range answer.Items {
			var number int
			must(fmt.Sscan(parsed(one)["id"].(string), &number))
			found = append(found, number)
		}
		if len(answer.Items) == 0 {
			empty++
		}
		token = answer.ContinuationToken
		options.Continuation, options.StartFrom = &token, nil
	}
	return sorted(found), token
}

func changes() {
	c := withNumbers(60)
	found, token := drain(c, azcosmos.ChangeFeedOptions{})
	same(found, numbers(60))
	must(c.UpsertItem(ctx, str("p7"), text(item{"id": "7", "pk": "p7", "changed": true}), nil))
	create(c, str("new"), item{"id": "60", "pk": "new"})
	must(c.DeleteItem(ctx, str("p8"), "8", nil))
	found, _ = drain(c, azcosmos.ChangeFeedOptions{Continuation: &token})
	same(found, []int{7, 60})
}

func changesSince() {
	c := withNumbers(20)
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	found, _ := drain(c, azcosmos.ChangeFeedOptions{StartFrom: &past})
	same(found, numbers(20))
	found, _ = drain(c, azcosmos.ChangeFeedOptions{StartFrom: &future})
	same(len(found), 0)
}

func changesOfFeedRanges() {
	c := withNumbers(60)
	feeds := must(c.ReadFeedRanges(ctx, nil))
	check(len(feeds) > 1, "%d feed ranges", len(feeds))
	same(feeds[0].MinInclusive, "")
	same(feeds[len(feeds)-1].MaxExclusive, "FF")
	var found []int
	tokens := make([]string, len(feeds))
	for i := range feeds {
		some, token := drain(c, azcosmos.ChangeFeedOptions{FeedRange: &feeds[i]})
		found, tokens[i] = append(found, some...), token
	}
	same(sorted(found), numbers(60))
	for _, id := range []string{"0", "3"} {
		emulator("split", item{"database": database.ID(), "container": c.ID(), "range": id})
	}
	for i := range 30 {
		pk := fmt.Sprintf("p%d", (60+i)%9)
		create(c, str(pk), item{"id": fmt.Sprint(60 + i), "pk": pk})
	}
	for i := range tokens {
		some, _ := drain(c, azcosmos.ChangeFeedOptions{Continuation: &tokens[i]})
		found = append(found, some...)
	}
	same(sorted(found), numbers(90))
	same(len(must(c.ReadFeedRanges(ctx, nil))), len(feeds)+2)
}

// ---------------------------------------------------------------------------------------------------------- batches

func statuses(answer azcosmos.TransactionalBatchResponse) (list []int32) {
	for _, one := range answer.OperationResults {
		list = append(list, one.StatusCode)
	}
	return list
}

func batches() {
	c, a := container(), str("a")
	for _, id := range []string{"read", "replace", "delete", "patch"} {
		create(c, a, item{"id": id, "pk": "a", "n": 1})
	}
	increment := azcosmos.PatchOperations{}
	increment.AppendIncrement("/n", 2)
	batch := c.NewTransactionalBatch(a)
	batch.CreateItem(text(item{"id": "create", "pk": "a"}), nil)
	batch.UpsertItem(text(item{"id": "upsert", "pk": "a"}), nil)
	batch.ReadItem("read", nil)
	batch.ReplaceItem("replace", text(item{"id": "replace", "pk": "a", "n": 2}), nil)
	batch.DeleteItem("delete", nil)
	batch.PatchItem("patch", increment, nil)
	full := &azcosmos.TransactionalBatchOptions{EnableContentResponseOnWrite: true}
	answer := must(c.ExecuteTransactionalBatch(ctx, batch, full))
	check(answer.Success && answer.RequestCharge > 6 && answer.SessionToken != "", "%v", answer)
	same(statuses(answer), []int32{201, 201, 200, 200, 204, 200})
	for i, n := range map[int]float64{2: 1, 3: 2, 5: 3} {
		same(parsed(answer.OperationResults[i].ResourceBody)["n"], n)
	}
	check(answer.OperationResults[0].ETag != "" && answer.OperationResults[0].RequestCharge > 0, "no ETag or charge")
	same(len(rowsOf(c, a, "SELECT * FROM c", nil)), 5)
}

func undoneBatches() {
	c, a := container(), str("a")
	etag, other := create(c, a, item{"id": "there", "pk": "a", "n": 1}).ETag, azcore.ETag("\"other\"")
	fresh, there := text(item{"id": "new", "pk": "a"}), text(item{"id": "there", "pk": "a"})
	conditional := azcosmos.PatchOperations{}
	conditional.AppendIncrement("/n", 1)
	conditional.SetCondition("from c where c.n > 1")
	for status, add := range map[int32]func(*azcosmos.TransactionalBatch){
		409: func(batch *azcosmos.TransactionalBatch) { batch.CreateItem(there, nil) },
		404: func(batch *azcosmos.TransactionalBatch) { batch.ReadItem("none", nil) },
		400: func(batch *azcosmos.TransactionalBatch) { batch.CreateItem(text(item{"id": "x", "pk": "b"}), nil) },
		412: func(batch *azcosmos.TransactionalBatch) { batch.PatchItem("there", conditional, nil) },
	} {
		batch := c.NewTransactionalBatch(a)
		batch.CreateItem(fresh, nil)
		add(&batch)
		batch.CreateItem(fresh, nil)
		answer := must(c.ExecuteTransactionalBatch(ctx, batch, nil))
		check(!answer.Success, "done")
		same(statuses(answer), []int32{424, status, 424})
		same(len(rowsOf(c, a, "SELECT * FROM c", nil)), 1)
	}
	for _, match := range []azcore.ETag{other, etag} {
		batch := c.NewTransactionalBatch(a)
		batch.ReplaceItem("there", there, &azcosmos.TransactionalBatchItemOptions{IfMatchETag: &match})
		same(must(c.ExecuteTransactionalBatch(ctx, batch, nil)).Success, match == etag)
	}
}

func largeBatches() {
	c := container()
	for _, value := range []any{"a", "ü", 1.5, true, nil} {
		of := azcosmosKey{value}
		batch := c.NewTransactionalBatch(of.key())
		for i := range 100 {
			batch.CreateItem(text(item{"id": fmt.Sprint(i), "pk": value}), nil)
		}
		answer := must(c.ExecuteTransactionalBatch(ctx, batch, nil))
		check(answer.Success && len(answer.OperationResults) == 100, "%v", answer.Success)
		check(len(answer.OperationResults[0].ResourceBody) == 0, "a body that nobody asked for")
		batch.CreateItem(text(item{"id": "100", "pk": value}), nil)
		_, err := c.ExecuteTransactionalBatch(ctx, batch, nil)
		refused(err, 400)
	}
	hierarchical := container("/a", "/b")
	batch := hierarchical.NewTransactionalBatch(azcosmos.NewPartitionKey().AppendString("x").AppendString("y"))
	batch.CreateItem(text(item{"id": "1", "a": "x", "b": "y"}), nil)
	check(must(hierarchical.ExecuteTransactionalBatch(ctx, batch, nil)).Success, "not done")
}

// -------------------------------------------------------------------------------------------------------------- run

var tests = []struct {
	name string
	run  func()
}{
	{"account", account}, {"over TLS", transport}, {"Entra tokens", entra},
	{"databases", databases}, {"odd names", oddNames}, {"containers", containers}, {"definitions", definitions},
	{"throughput", throughput}, {"items", items}, {"refusals", refusals}, {"ETags", etags},
	{"partition keys", partitionKeys}, {"hierarchical keys", hierarchicalKeys}, {"odd ids", oddIDs},
	{"patches", patches}, {"session tokens", sessionTokens}, {"while the service is busy", busy},
	{"queries", queries}, {"pages", pages}, {"queries across partitions", acrossPartitions},
	{"reading many", readingMany}, {"the change feed", changes},
	{"the change feed since", changesSince}, {"the change feed of feed ranges", changesOfFeedRanges},
	{"batches", batches}, {"batches are all or nothing", undoneBatches}, {"batches of a hundred", largeBatches},
}

func wanted(name string) bool {
	for _, part := range os.Args[1:] {
		if strings.Contains(name, part) {
			return true
		}
	}
	return len(os.Args) == 1
}

// passes says why not.
func passes(name string, run func()) (passes bool) {
	defer func() {
		if why := recover(); why != nil {
			if _, known := why.(failure); !known {
				why = fmt.Sprintf("%v\n%s", why, debug.Stack())
			}
			fmt.Printf("go: %s failed: %v\n", name, why)
			passes = false
		}
	}()
	run()
	return true
}

func main() {
	client = connect(key)
	must(client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "interop go"}, nil))
	database = must(client.NewDatabase("interop go"))
	passed, failed := 0, 0
	for _, test := range tests {
		if !wanted(test.name) {
			continue
		}
		if passes(test.name, test.run) {
			passed++
		} else {
			failed++
		}
	}
	must(database.Delete(ctx, nil))
	fmt.Printf("go: %d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
