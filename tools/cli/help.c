/* help.c: the commands, and what is said about them on the terminal and on the manual page. */
#include "help.h"
#include "batch.h"
#include "changes.h"
#include "copy.h"
#include "databases.h"
#include "describe.h"
#include "export.h"
#include "import.h"
#include "items.h"
#include "profile.h"
#include "query.h"
#include "remove.h"
#include "resources.h"
#include "scan.h"
#include "shell.h"
#include "throughput.h"
#include "transfer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    COLUMNS = 80,
    OPTION_COLUMN = 26
};

static const char about[] = "works with Azure Cosmos DB accounts, and emulators of them";

static const char text_data[] =
    "Data goes to stdout, one JSON document a line; what is for people, such as\n"
    "errors, costs and progress, goes to stderr.\n";

static const char text_settings[] =
    "The account is named by --connection-string or --profile, or by --endpoint with\n"
    "--key, --key-file or --token; else by the environment, AIOCOSMOS_PROFILE,\n"
    "AIOCOSMOS_CONNECTION_STRING, or AIOCOSMOS_ENDPOINT with AIOCOSMOS_KEY or\n"
    "AIOCOSMOS_TOKEN; else it is the local emulator, http://localhost:8081. An\n"
    "endpoint on localhost needs no key: emulators have a well-known one.\n";

static const char text_exit[] =
    "    0   all done\n"
    "    1   the service or the network refused, or a file failed\n"
    "    2   wrong usage, or a file that cannot be opened; nothing was changed\n"
    "    3   not all was done: documents were refused, Ctrl-C came first, or there is\n"
    "        no column for what some rows have\n";

static const char text_examples[] =
    "    export AIOCOSMOS_CONNECTION_STRING='AccountEndpoint=https://...'\n"
    "    aiocosmos db create game\n"
    "    aiocosmos container create game players --partition-key /region\n"
    "    echo '{\"id\":\"ann\",\"region\":\"eu\"}' | aiocosmos item create game players\n"
    "    aiocosmos query game players 'SELECT * FROM c WHERE c.region = \"eu\"'\n";

const command commands[] = {
    { "account", "", 0, 0, 0, account, NULL, "show the account",
      "Prints what the service says of it: its regions, consistency and so on.\n" },
    { "profile list", "", 0, 0, COMMAND_LOCAL, profile_list, NULL, "list the accounts that have a name",
      "Prints each profile's name and endpoint, and no keys.\n" },
    { "profile add", "NAME", 0, 0, COMMAND_LOCAL, profile_add, NULL, "give an account a name",
      "Keeps the account of --endpoint or --connection-string, for --profile NAME or\n"
      "AIOCOSMOS_PROFILE, in a file that nobody else can read, in the directory\n"
      "aiocosmos of XDG_CONFIG_HOME or ~/.config; one that others can read is refused.\n"
      "The key is asked for, and not shown, unless --key-file or --key gives it; an\n"
      "endpoint on localhost needs none.\n"
      "\n"
      "    aiocosmos profile add work --endpoint https://NAME.documents.azure.com/\n"
      "    aiocosmos --profile work db list\n" },
    { "profile delete", "NAME", 0, 0, COMMAND_LOCAL, profile_delete, NULL, "forget an account's name", "" },
    { "db list", "", 0, 0, 0, db_list, NULL, "list the databases",
      "Prints each database of the account as the service describes it.\n" },
    { "db create", "ID", OPTIONS_OF_THROUGHPUT | BIT(OPT_IF_NOT_EXISTS), 0, 0, db_create, NULL, "create a database",
      "Prints the new database. Throughput given here is shared by its containers;\n"
      "usually each container has its own instead.\n"
      "\n"
      "    aiocosmos db create game --if-not-exists\n" },
    { "db delete", "ID", BIT(OPT_YES), 0, AIOCOSMOS_DELETE_DATABASE, delete_whole, NULL,
        "delete a database with all that is in it",
      "Says of which account. On a terminal its name is asked for first, unless --yes\n"
      "is given; scripts are not asked. There is no way back.\n" },
    { "container list", "DB", 0, 0, 0, container_list, NULL, "list the containers of a database",
      "Prints each container as the service describes it: its partition key, indexing\n"
      "policy and so on.\n" },
    { "container show", "DB ID", 0, 0, 0, container_show, NULL,
        "show a container's definition",
      "Prints its partition key, indexing policy and so on.\n"
      "\n"
      "    aiocosmos container show game players | jq .partitionKey\n" },
    { "container create", "DB ID",
      BIT(OPT_PARTITION_KEY) | OPTIONS_OF_THROUGHPUT | BIT(OPT_TTL) | BIT(OPT_IF_NOT_EXISTS) |
        BIT(OPT_WITH), BIT(OPT_PARTITION_KEY), 0,
      container_create, NULL, "create a container",
      "Prints the new container. Items with the same value of the partition key are\n"
      "kept together, up to 20 GB, and can be queried together; choose a property that\n"
      "has many values and that most queries know. It cannot be changed later.\n"
      "\n"
      "    aiocosmos container create game players --partition-key /region\n"
      "    aiocosmos container create game events --partition-key /tenant,/user \\\n"
      "        --autoscale 4000 --ttl 86400\n"
      "    aiocosmos container create game mails --partition-key /region --with \\\n"
      "        '{\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/mail\"]}]}}'\n" },
    { "container describe", "DB ID", BIT(OPT_SAMPLE) | BIT(OPT_PK) | BIT(OPT_TABLE) | BIT(OPT_CSV), 0, 0,
        container_describe, scan_prepare, "tell what its items look like",
      "Looks at a sample, as many items from each partition key range, and prints each\n"
      "path that occurs in them: how many values of each type it has, how many of the\n"
      "items have it, and an example. The elements of a list are \"/list/*\".\n"
      "\n"
      "    aiocosmos container describe game players --table\n" },
    { "container replace", "DB ID [FILE]", BIT(OPT_IF_MATCH), 0, 0, container_replace, NULL,
        "change a container's definition",
      "Reads the whole definition, as 'container show' prints it, from the file or from\n"
      "stdin, and prints it as it is then. What does not stand in it is reset, but for\n"
      "the partition key, which cannot be changed.\n"
      "\n"
      "    aiocosmos container show game players |\n"
      "        jq '.indexingPolicy.excludedPaths += [{\"path\":\"/log/*\"}]' |\n"
      "        aiocosmos container replace game players\n" },
    { "container delete", "DB ID", BIT(OPT_YES), 0, AIOCOSMOS_DELETE_CONTAINER, delete_whole, NULL,
        "delete a container with its items",
      "Says of which account. On a terminal its name is asked for first, unless --yes\n"
      "is given; scripts are not asked. There is no way back.\n" },
    { "throughput show", "DB [CONTAINER]", 0, 0, 0, throughput_show, NULL, "show a container's request units a second",
      "Prints the throughput of a container, or that which a database has for those of\n"
      "its containers that have none of their own, as the service keeps it; in words,\n"
      "and how low it may be, to people.\n"
      "\n"
      "    aiocosmos throughput show game players | jq .content\n" },
    { "throughput set", "DB [CONTAINER] N", 0, 0, 0, throughput_set, NULL, "give a container N request units a second",
      "Prints it as it is then. What was autoscale is manual from then on.\n"
      "\n"
      "    aiocosmos throughput set game players 1000\n" },
    { "throughput autoscale", "DB [CONTAINER] N", 0, 0, 0, throughput_autoscale, NULL,
        "give a container as many as it needs, up to N",
      "Prints it as it is then. What was manual is autoscale from then on.\n"
      "\n"
      "    aiocosmos throughput autoscale game players 4000\n" },
    { "item create", "DB CONTAINER [FILE]", 0, 0, AIOCOSMOS_CREATE_ITEM, item_write, NULL, "store a new item",
      "Reads one JSON document from the file, or from stdin if there is none or it is\n"
      "'-', and prints it as it was stored. It needs an \"id\"; its partition key is\n"
      "taken from it. An item that is there already is left alone, and this fails\n"
      "with 409.\n"
      "\n"
      "    aiocosmos item create game players ann.json\n" },
    { "item upsert", "DB CONTAINER [FILE]", BIT(OPT_IF_MATCH), 0, AIOCOSMOS_UPSERT_ITEM, item_write, NULL,
        "store an item, new or not",
      "Reads one JSON document from the file, or from stdin if there is none or it is\n"
      "'-', and prints it as it was stored. It needs an \"id\"; its partition key is\n"
      "taken from it. An item that is there already is replaced.\n"
      "\n"
      "    jq '.level += 1' ann.json | aiocosmos item upsert game players\n" },
    { "item replace", "DB CONTAINER [FILE]", BIT(OPT_IF_MATCH), 0, AIOCOSMOS_REPLACE_ITEM, item_write, NULL,
        "replace an item that is there",
      "Reads one JSON document from the file, or from stdin if there is none or it is\n"
      "'-', and prints it as it was stored. If there is no item of its \"id\" and\n"
      "partition key, this fails with 404.\n"
      "\n"
      "    aiocosmos item replace game players ann.json \\\n"
      "        --if-match \"$(jq -r ._etag ann.json)\"\n" },
    { "item get", "DB CONTAINER ID", BIT(OPT_PK), BIT(OPT_PK), AIOCOSMOS_READ_ITEM, item_by_id, NULL, "read an item",
      "Prints the item, byte for byte. This is the cheapest way to read one: 1 RU for\n"
      "the first kilobyte.\n"
      "\n"
      "    aiocosmos item get game players ann --pk '\"eu\"'\n"
      "    aiocosmos item get game events 17 --pk '[\"acme\",\"ann\"]'\n" },
    { "item patch", "DB CONTAINER ID", BIT(OPT_PK) | BIT(OPT_OPS) | BIT(OPT_IF_MATCH), BIT(OPT_PK) | BIT(OPT_OPS),
      AIOCOSMOS_PATCH_ITEM, item_by_id, NULL, "change parts of an item",
      "Prints the item as it is then. The operations are add, set, replace, remove,\n"
      "incr and move, at most ten, done all or not at all.\n"
      "\n"
      "    aiocosmos item patch game players ann --pk '\"eu\"' \\\n"
      "        --ops '[{\"op\":\"incr\",\"path\":\"/level\",\"value\":1}]'\n" },
    { "item delete", "DB CONTAINER ID", BIT(OPT_PK) | BIT(OPT_IF_MATCH), BIT(OPT_PK), AIOCOSMOS_DELETE_ITEM,
        item_by_id, NULL, "delete an item",
      "    aiocosmos item delete game players ann --pk '\"eu\"'\n" },
    { "batch", "DB CONTAINER [FILE]", BIT(OPT_PK), BIT(OPT_PK), 0, batch, NULL, "change items together, or not at all",
      "One transaction: 1 to 100 operations on items of one partition key, which are\n"
      "all carried out, in order, or none. Reads one JSON object each, from the file or\n"
      "from stdin: \"op\" is create, upsert, replace, read, patch or delete, \"id\" the\n"
      "item's, \"body\" the document or the patch, and \"if_match\" an ETag, if there is to\n"
      "be one.\n"
      "\n"
      "Prints a line for each: its \"status\", 0 if it was done and 424 if another one\n"
      "failed, and the item. The exit status is 1 if nothing was done.\n"
      "\n"
      "    aiocosmos batch game players --pk '\"eu\"' <<END\n"
      "    {\"op\":\"create\",\"body\":{\"id\":\"bob\",\"region\":\"eu\",\"gold\":5}}\n"
      "    {\"op\":\"patch\",\"id\":\"ann\",\"body\":[{\"op\":\"incr\",\"path\":\"/gold\",\"value\":-5}]}\n"
      "    END\n" },
    { "query", "DB CONTAINER SQL",
        BIT(OPT_PARAM) | BIT(OPT_PK) | BIT(OPT_PAGE_SIZE) | BIT(OPT_PAGES) | BIT(OPT_CONTINUATION) | BIT(OPT_EXPLAIN) |
        BIT(OPT_CSV) | BIT(OPT_TABLE) | BIT(OPT_SESSION_TOKEN), 0, 0, query, NULL,
      "ask in SQL",
      "Prints the rows as they arrive, page by page. With --pk one partition is asked,\n"
      "which is cheaper. Without it all are that the query may mean, and their rows are\n"
      "put in order, grouped and counted here.\n"
      "\n"
      "Put values that vary into parameters, not into the text.\n"
      "\n"
      "    aiocosmos query game players 'SELECT * FROM c WHERE c.level > @least' \\\n"
      "        --param @least=42\n"
      "    aiocosmos query game players --pk '\"eu\"' \\\n"
      "        'SELECT TOP 3 c.id FROM c ORDER BY c.level DESC'\n"
      "\n"
      "--explain answers the whole query too, so that it costs the same, but prints\n"
      "the service's plan, the partition key ranges that were asked, what each of them\n"
      "cost, which indexes were used or would have helped, and what the service advises\n"
      "to write otherwise.\n"
      "\n"
      "    aiocosmos query game players --explain \\\n"
      "        'SELECT c.region, COUNT(1) AS players FROM c GROUP BY c.region'\n"
      "\n"
      "--table shows rows to people, as wide as the terminal, and --csv prints comma-\n"
      "separated values (RFC 4180), which an import takes back: text that looks like a\n"
      "number is quoted; lists and objects are JSON in quotes. The columns are what the\n"
      "SELECT names, by AS too; of '*' they are the properties of the first page, and\n"
      "rows that have more are counted in the end.\n"
      "\n"
      "    aiocosmos query game players --table 'SELECT c.id, c.level FROM c'\n"
      "\n"
      "With --max-pages, the token to go on with is told at the end; it belongs to the\n"
      "same query with the same parameters and key, on any machine.\n"
      "\n"
      "    aiocosmos query game players 'SELECT * FROM c' --page-size 100 --max-pages 1\n" },
    { "count", "DB CONTAINER", BIT(OPT_WHERE) | BIT(OPT_PARAM) | BIT(OPT_PK) | BIT(OPT_SESSION_TOKEN), 0, 0,
        count, NULL, "count items",
      "Prints how many items there are: all, those of a condition, or those of one\n"
      "partition key.\n"
      "\n"
      "    aiocosmos count game players\n"
      "    aiocosmos count game players --pk '\"eu\"' --where 'c.level > @l' --param @l=9\n" },
    { "import", "DB CONTAINER FILE",
        BIT(OPT_CSV) | BIT(OPT_UPSERT) | BIT(OPT_DELETE) | BIT(OPT_CONCURRENCY) | BIT(OPT_REJECTS) |
        BIT(OPT_APPEND_REJECTS) | BIT(OPT_FROM_LINE) | BIT(OPT_FROM_ELEMENT) | BIT(OPT_GIVE_UP) | BIT(OPT_SINGLE) |
        BIT(OPT_RU) | BIT(OPT_PRIORITY), 0, 0, import, import_prepare,
        "store every document of a file",
      "Reads JSON documents, from a file of any size or, with '-', from a pipe: one a\n"
      "line, one behind the other in any layout, or the elements of an array. Each\n"
      "needs an \"id\"; its partition key is taken from it. Blank lines are passed over.\n"
      "Many are in flight at a time, up to 100 in one request, and fewer while the\n"
      "service throttles. --ru keeps to a budget of request units a second, and\n"
      "--priority low lets others go first.\n"
      "\n"
      "With --csv it reads comma-separated values (RFC 4180), whose first line names\n"
      "the properties. A field without quotes that is true, false, null or a number as\n"
      "JSON writes it that a double keeps (any of up to 15 digits, and what a query\n"
      "prints) is that, and one that is empty is no property; all others are text, and\n"
      "so are fields in quotes and the column \"id\".\n"
      "\n"
      "With --delete the items of these documents are deleted instead, each by its id\n"
      "and partition key, whatever else it holds by now. One that is not there is\n"
      "rejected with 404.\n"
      "\n"
      "Where an answer is lost, the item is read: the same document, but for layout and\n"
      "what the service adds, was stored; another one is not replaced but told; and\n"
      "where there is none, it is written again.\n"
      "\n"
      "Whatever is not stored is written to the rejects, one JSON object a line:\n"
      "\"line\" is where it begins, and \"element\" its place in an array; \"reason\" says\n"
      "why; \"status\" and \"sub_status\" are the service's last answer to the write, 0 if\n"
      "there was none; \"maybe_applied\" is true if an answer was lost and nobody was\n"
      "there to be asked, so that it may be stored all the same; \"document\" is the\n"
      "document, or \"text\" what is no JSON. What has over 2 MB is too long to be\n"
      "repeated there. A line that is no document is rejected alone; an array that\n"
      "goes wrong ends the import, and it says where.\n"
      "\n"
      "A connection that is lost or refused is tried again. If the server says nothing\n"
      "at all for 30 seconds (--give-up), or refuses 100 documents on end for reasons\n"
      "that are not theirs, such as a wrong key, the import stops instead of rejecting\n"
      "all that is left.\n"
      "\n"
      "Ctrl-C stops the taking of documents, and what is in flight is finished. A\n"
      "second Ctrl-C ends at once, and tells which it leaves in doubt, and which were\n"
      "not sent. However an import stops, the last line or element that was taken is\n"
      "told, and how to go on with the next (--from-line, --from-element; a pipe has to\n"
      "give the same again).\n"
      "\n"
      "The last line, on stdout, is a JSON object with the totals: \"ok\", \"failed\",\n"
      "\"retries\", \"ru\", \"seconds\" and \"per_second\". The exit status is 3 if anything\n"
      "was rejected or Ctrl-C was pressed, and 1 if a file failed or the import gave up\n"
      "with nothing rejected.\n"
      "\n"
      "    aiocosmos import game players players.ndjson --rejects bad.ndjson\n"
      "    jq -c 'select(.document).document' bad.ndjson |\n"
      "        aiocosmos import game players - --upsert\n" },
    { "export", "DB CONTAINER",
        BIT(OPT_QUERY) | BIT(OPT_PARAM) | BIT(OPT_PK) | BIT(OPT_STATE) | BIT(OPT_PAGE_SIZE) | BIT(OPT_CONCURRENCY) |
        BIT(OPT_CSV), 0, 0, export_items, scan_prepare, "print every item",
      "Reads several partition key ranges at a time, so that items come in no order.\n"
      "Each is printed with the properties that the service adds, such as \"_etag\" and\n"
      "\"_ts\". Items that change meanwhile may be seen as they were before or after.\n"
      "--concurrency 1 spares the container's throughput. With --pk the items of one\n"
      "partition key are printed, with --query the rows of any query. --csv is as for a\n"
      "query, and goes without --state.\n"
      "\n"
      "Ctrl-C stops between two pages, with exit status 3. With --state, an export that\n"
      "was stopped, or has failed, goes on when the command is repeated. The file is\n"
      "written once a second, and never ahead of what has been printed, so that each\n"
      "item is printed at least once.\n"
      "\n"
      "    aiocosmos export game players > players.ndjson\n"
      "    aiocosmos export game players --state players.state >> players.ndjson\n"
      "    aiocosmos export game players --query 'SELECT c.id, c.level FROM c'\n" },
    { "copy", "DB CONTAINER TO_DB TO_CONTAINER",
        BIT(OPT_TO_CONNECTION_STRING) | BIT(OPT_TO_ENDPOINT) | BIT(OPT_TO_KEY) | BIT(OPT_QUERY) | BIT(OPT_PARAM) |
        BIT(OPT_PK) | BIT(OPT_STATE) | BIT(OPT_CONCURRENCY), 0, 0, copy, transfer_prepare,
        "copy the items of a container to another one",
      "The container to copy to has to be there; its partition key may be another one.\n"
      "Items that it has already are replaced. What the service adds, such as \"_etag\"\n"
      "and \"_ts\", is not copied. With --query, its rows are; each needs an \"id\".\n"
      "\n"
      "Items that cannot be stored are told on stderr, one JSON object each, and the\n"
      "others go on. Ctrl-C stops, and with --state it goes on when the command is\n"
      "repeated: the state is never ahead of what is stored.\n"
      "\n"
      "The last line, on stdout, is a JSON object with the totals, as of an import.\n"
      "\n"
      "    aiocosmos container create game players2 --partition-key /region\n"
      "    aiocosmos copy game players game players2 --state copy.state\n"
      "    AIOCOSMOS_TO_CONNECTION_STRING='AccountEndpoint=...' \\\n"
      "        aiocosmos copy game players backup players\n" },
    { "delete", "DB CONTAINER",
        BIT(OPT_WHERE) | BIT(OPT_PARAM) | BIT(OPT_PK) | BIT(OPT_BACKGROUND) | BIT(OPT_YES) |
        BIT(OPT_CONCURRENCY), 0, 0, delete_items, transfer_prepare, "delete the items of a condition",
      "Deletes the items that meet a condition, of one partition key or of all, or all\n"
      "those of one partition key. On a terminal it says how many they are and where,\n"
      "and asks for the container's name first, unless --yes is given; scripts are not\n"
      "asked.\n"
      "\n"
      "An item that changed after it met the condition stays, and is told on stderr\n"
      "with what else was refused; the exit status is 3 then. The last line, on stdout,\n"
      "is a JSON object with the totals, as of an import.\n"
      "\n"
      "With --background the service is asked to delete all items of a key by itself,\n"
      "from what throughput is left over, where the account allows that.\n"
      "\n"
      "    aiocosmos delete game players --where 'c.level < @least' --param @least=3\n"
      "    aiocosmos delete game players --pk '\"eu\"' --yes\n" },
    { "changes", "DB CONTAINER",
        BIT(OPT_FROM) | BIT(OPT_FOLLOW) | BIT(OPT_STATE) | BIT(OPT_CONTINUATION) | BIT(OPT_ALL_VERSIONS) | BIT(OPT_PK) |
        BIT(OPT_PAGE_SIZE) | BIT(OPT_SESSION_TOKEN) | BIT(OPT_PROCESSOR) | BIT(OPT_LEASES) | BIT(OPT_WORKER), 0, 0,
        changes, NULL, "print what was created and changed",
      "Prints items that were created or changed, each as it is by now, from the\n"
      "beginning or as --from says; what was deleted is not told. Those of one\n"
      "partition key come in the order of their changes.\n"
      "\n"
      "It ends when there is nothing more now, and tells how to go on from there. With\n"
      "--follow it waits for more; Ctrl-C ends it, with exit status 0. A state that is\n"
      "kept in a file is never ahead of what has been printed, so that each change is\n"
      "printed at least once, also by runs that were broken off.\n"
      "\n"
      "--all-versions prints each change and deletion from now on, if the container has\n"
      "a retention for them: {\"current\":...,\"metadata\":{\"operationType\":...}}.\n"
      "\n"
      "With --processor and --leases several of these commands share the changes until\n"
      "Ctrl-C; where one is killed the others go on, and what it had not printed comes\n"
      "again. One that is started later takes its share from the others, and what they\n"
      "printed in the second before may come again. How far they are is kept in the\n"
      "leases.\n"
      "\n"
      "    aiocosmos changes game players --from now --follow\n"
      "    aiocosmos changes game players --state players.state >> players.ndjson\n"
      "    aiocosmos container create game leases --partition-key /processor\n"
      "    aiocosmos changes game players --processor mailer --leases leases\n" },
    { "sproc list", "DB CONTAINER", 0, 0, 0, resource_list, NULL, "list a container's stored procedures",
      "Prints each with its JavaScript, as the service keeps it.\n" },
    { "sproc show", "DB CONTAINER ID", 0, 0, AIOCOSMOS_READ_RESOURCE, resource_by_id, NULL, "show a stored procedure",
      "Prints it as the service keeps it; \"body\" is its JavaScript.\n"
      "\n"
      "    aiocosmos sproc show game players trade | jq -r .body > trade.js\n" },
    { "sproc create", "DB CONTAINER ID [FILE]", 0, 0, AIOCOSMOS_CREATE_RESOURCE, script_write, NULL,
        "store a new procedure",
      "Reads its JavaScript from the file, or from stdin, and prints what was stored.\n"
      "Whether it is right shows when it runs.\n"
      "\n"
      "    aiocosmos sproc create game players trade trade.js\n" },
    { "sproc replace", "DB CONTAINER ID [FILE]", 0, 0, AIOCOSMOS_REPLACE_RESOURCE, script_write, NULL,
        "store another JavaScript for a procedure", "As 'sproc create', of one that is there.\n" },
    { "sproc delete", "DB CONTAINER ID", 0, 0, AIOCOSMOS_DELETE_RESOURCE, resource_by_id, NULL,
        "delete a stored procedure", "" },
    { "sproc run", "DB CONTAINER ID [ARGUMENTS]", BIT(OPT_PK), BIT(OPT_PK), AIOCOSMOS_EXECUTE_PROCEDURE, procedure_run,
        NULL, "execute a stored procedure",
      "Runs as one transaction of the items of one partition key. The arguments are a\n"
      "JSON array. Prints what the procedure sets as its answer; what it logs goes to\n"
      "stderr.\n"
      "\n"
      "    aiocosmos sproc run game players trade '[\"ann\",\"bob\",5]' --pk '\"eu\"'\n" },
    { "trigger list", "DB CONTAINER", 0, 0, 0, resource_list, NULL, "list a container's triggers",
      "Prints each with its JavaScript, as the service keeps it.\n" },
    { "trigger show", "DB CONTAINER ID", 0, 0, AIOCOSMOS_READ_RESOURCE, resource_by_id, NULL, "show a trigger",
      "Prints it as the service keeps it; \"body\" is its JavaScript.\n" },
    { "trigger create", "DB CONTAINER ID [FILE]", BIT(OPT_TYPE) | BIT(OPT_OPERATION), 0, AIOCOSMOS_CREATE_RESOURCE,
        script_write, NULL, "store a new trigger",
      "Reads its JavaScript from the file, or from stdin, and prints what was stored.\n"
      "It runs only for writes that name it, which those of this tool do not.\n"
      "\n"
      "    aiocosmos trigger create game players stamp stamp.js --operation create\n" },
    { "trigger replace", "DB CONTAINER ID [FILE]", BIT(OPT_TYPE) | BIT(OPT_OPERATION), 0, AIOCOSMOS_REPLACE_RESOURCE,
        script_write, NULL, "store another JavaScript for a trigger",
      "As 'trigger create', of one that is there. What the options do not say stays.\n" },
    { "trigger delete", "DB CONTAINER ID", 0, 0, AIOCOSMOS_DELETE_RESOURCE, resource_by_id, NULL, "delete a trigger",
      "" },
    { "udf list", "DB CONTAINER", 0, 0, 0, resource_list, NULL, "list the functions that queries can call",
      "Prints each with its JavaScript, as the service keeps it.\n" },
    { "udf show", "DB CONTAINER ID", 0, 0, AIOCOSMOS_READ_RESOURCE, resource_by_id, NULL, "show a function",
      "Prints it as the service keeps it; \"body\" is its JavaScript.\n" },
    { "udf create", "DB CONTAINER ID [FILE]", 0, 0, AIOCOSMOS_CREATE_RESOURCE, script_write, NULL,
        "store a new function",
      "Reads its JavaScript from the file, or from stdin, and prints what was stored.\n"
      "Queries call it by its name behind 'udf.'.\n"
      "\n"
      "    echo 'function (level) { return level / 10 }' |\n"
      "        aiocosmos udf create game players rank\n"
      "    aiocosmos query game players 'SELECT c.id, udf.rank(c.level) FROM c'\n" },
    { "udf replace", "DB CONTAINER ID [FILE]", 0, 0, AIOCOSMOS_REPLACE_RESOURCE, script_write, NULL,
        "store another JavaScript for a function", "As 'udf create', of one that is there.\n" },
    { "udf delete", "DB CONTAINER ID", 0, 0, AIOCOSMOS_DELETE_RESOURCE, resource_by_id, NULL, "delete a function", "" },
    { "user list", "DB", 0, 0, 0, resource_list, NULL, "list a database's users",
      "Prints each as the service keeps it. Users are names for permissions; who has a\n"
      "key needs none.\n" },
    { "user create", "DB ID", 0, 0, AIOCOSMOS_CREATE_RESOURCE, user_create, NULL, "create a user",
      "Prints the new user. What it may is said by 'permission create'.\n" },
    { "user delete", "DB ID", 0, 0, AIOCOSMOS_DELETE_RESOURCE, resource_by_id, NULL,
        "delete a user with its permissions", "" },
    { "permission list", "DB USER", 0, 0, 0, resource_list, NULL, "list what a user may",
      "Prints each permission as the service keeps it, with a token in \"_token\".\n" },
    { "permission create", "DB USER ID", BIT(OPT_ON) | BIT(OPT_MODE) | BIT(OPT_PK) | BIT(OPT_EXPIRY),
        BIT(OPT_ON) | BIT(OPT_MODE), AIOCOSMOS_CREATE_RESOURCE, permission_create, NULL, "let a user do something",
      "Prints it with a token in \"_token\", which takes the place of the account's key\n"
      "for what the permission is for: a container, or in it one partition key, or one\n"
      "item.\n"
      "\n"
      "    aiocosmos user create game ann\n"
      "    aiocosmos permission create game ann reads --on players --mode read\n"
      "    AIOCOSMOS_TOKEN=$(aiocosmos permission create game ann writes --on players \\\n"
      "        --mode all --pk '\"eu\"' | jq -r ._token) aiocosmos item get ...\n" },
    { "permission delete", "DB USER ID", 0, 0, AIOCOSMOS_DELETE_RESOURCE, resource_by_id, NULL,
        "take a permission back", "Tokens that are out already are good until they expire.\n" },
    { "shell", "", 0, 0, 0, shell, NULL, "the same commands, one after the other",
      "Reads commands, without the word aiocosmos, and runs each with the account that\n"
      "was named to the shell. Words are cut as other shells cut them, by blanks that\n"
      "stand in no quotes. On a terminal there is a history, which Ctrl-R searches, Tab\n"
      "completes commands, options and the names of databases and containers, and long\n"
      "answers go through PAGER, or less. Ctrl-C ends a command, and Ctrl-D or 'exit'\n"
      "the shell. A line that names a key is not written into the history.\n"
      "\n"
      "From a pipe, the exit status is that of the last command, what a command reads\n"
      "has to be in a file, and lines that begin with '#' are passed over.\n" }
};

const unsigned command_count = sizeof commands / sizeof *commands;

/* Words of a usage line, broken before the last column. */
static void put_word(size_t *column, size_t indent, const char *format, ...)
{
    char word[128];
    va_list arguments;
    size_t len;
    va_start(arguments, format);
    len = (size_t)vsnprintf(word, sizeof word, format, arguments);
    va_end(arguments);
    if (*column + 1 + len > COLUMNS) {
        printf("\n%*s", (int)indent, "");
        *column = indent;
    } else if (*column > 0) {
        putchar(' ');
        ++*column;
    }
    fputs(word, stdout);
    *column += len;
}

static void put_usage(const command *c)
{
    size_t column = (size_t)printf(" "), indent = 6;
    unsigned i;
    put_word(&column, indent, "aiocosmos");
    put_word(&column, indent, "%s", c->name);
    if (*c->operands) put_word(&column, indent, "%s", c->operands);
    for (i = 0; i < OPT_COUNT; i++) {
        bool required = (c->required & BIT(i)) != 0;
        if (!(c->options & BIT(i))) continue;
        put_word(&column, indent, "%s%s%s%s%s%s", required ? "" : "[", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "", required ? "" : "]", i == OPT_PARAM ? "..." : "");
    }
    putchar('\n');
}

static void put_options(uint64_t which)
{
    unsigned i;
    for (i = 0; i < OPT_COUNT; i++) {
        const char *line = options[i].text, *end;
        int width = 0;
        if (!(which & BIT(i))) continue;
        width = printf("  %s %s", options[i].name, options[i].value ? options[i].value : "");
        if (width >= OPTION_COLUMN) width = printf("\n") - 1;
        for (; *line; line = *end ? end + 1 : end, width = 0) {
            end = line + strcspn(line, "\n");
            printf("%*s%.*s\n", OPTION_COLUMN - width, "", (int)(end - line), line);
        }
    }
}

/* group NULL: all. */
static void put_commands(const char *group)
{
    unsigned i;
    for (i = 0; i < command_count; i++)
        if (!group || is_of(&commands[i], group)) printf("  %-20s %s\n", commands[i].name, commands[i].summary);
}

void help_on_command(const command *c)
{
    printf("aiocosmos %s: %s\n\n", c->name, c->summary);
    put_usage(c);
    printf("\n%s", c->text);
    if (c->options) {
        printf("\nOptions:\n");
        put_options(c->options);
    }
    printf("\nOptions of every command:\n");
    put_options(OPTIONS_OF_ALL);
    printf("\n%s\nExit status:\n%s", text_settings, text_exit);
}

void help_on_all(const char *group)
{
    printf("aiocosmos %s\n\n  aiocosmos COMMAND [operands] [options]\n\nCommands:\n", about);
    put_commands(group);
    printf("  %-20s %s\n", "help [COMMAND]", "what stands here, or about a command");
    printf("\n'aiocosmos COMMAND --help' tells all about one, and --version the version. For bash\n"
           "to complete command lines: source <(aiocosmos --completion)\n\n%s\nOptions of every command:\n", text_data);
    put_options(OPTIONS_OF_ALL);
    printf("\n%s\nExit status:\n%s\nExamples:\n%s", text_settings, text_exit, text_examples);
}

/*--- The manual page, from the same texts -----------------------------------*/

/* Characters that troff takes for its own: a hyphen is a minus sign here, and a dot or quote that begins a line a
 * request. */
static void man_line(const char *text, size_t len)
{
    size_t i;
    if (len && (*text == '.' || *text == '\'')) fputs("\\&", stdout);
    for (i = 0; i < len; i++) {
        if (text[i] == '\\') fputs("\\e", stdout);
        else if (text[i] == '-') fputs("\\-", stdout);
        else putchar(text[i]);
    }
    putchar('\n');
}

static void man_text(const char *text)
{
    bool example = false;
    for (; *text; text += strcspn(text, "\n") + 1) {
        size_t len = strcspn(text, "\n");
        bool is_example = strncmp(text, "    ", 4) == 0;
        if (is_example != example) puts(is_example ? ".PP\n.RS 4\n.EX" : ".EE\n.RE");
        if (is_example) man_line(text + 4, len - 4);
        else if (len == 0) puts(".PP");
        else man_line(text, len);
        example = is_example;
    }
    if (example) puts(".EE\n.RE");
}

static void man_options(uint64_t which)
{
    unsigned i;
    for (i = 0; i < OPT_COUNT; i++) {
        const char *line = options[i].text, *end;
        const char *value = options[i].value;
        char name[64];
        if (!(which & BIT(i))) continue;
        puts(".TP");
        man_line(name, (size_t)snprintf(name, sizeof name, "%s%s%s", options[i].name, value ? " " : "",
                                        value ? value : ""));
        for (; *line; line = *end ? end + 1 : end) {
            end = line + strcspn(line, "\n");
            man_line(line, (size_t)(end - line));
        }
    }
}

static void man_command(const command *c)
{
    printf(".SS \"aiocosmos %s%s%s\"\n", c->name, *c->operands ? " " : "", c->operands);
    printf("%c%s.\n.PP\n", c->summary[0] - 'a' + 'A', c->summary + 1);
    man_text(c->text);
    man_options(c->options);
}

void print_manual(void)
{
    unsigned i;
    printf(".TH AIOCOSMOS 1 \"\" \"aiocosmos %d.%d.%d\"\n.SH NAME\naiocosmos \\- %s\n", (int)(AIOCOSMOS_VERSION >> 16),
           (int)(AIOCOSMOS_VERSION >> 8 & 255u), (int)(AIOCOSMOS_VERSION & 255u), about);
    printf(".SH SYNOPSIS\n.B aiocosmos\n.I COMMAND\n[operands] [options]\n.SH DESCRIPTION\n");
    man_text(text_data);
    printf(".SH COMMANDS\n");
    for (i = 0; i < command_count; i++) man_command(&commands[i]);
    printf(".SH OPTIONS OF EVERY COMMAND\n");
    man_options(OPTIONS_OF_ALL);
    printf(".TP\n\\-\\-help\nwhat stands here about the command, on the terminal\n.TP\n\\-\\-version\nthe version\n"
           ".TP\n\\-\\-completion\nwhat bash needs to complete command lines: source <(aiocosmos \\-\\-completion)\n");
    printf(".SH ENVIRONMENT\n");
    man_text(text_settings);
    printf(".SH EXIT STATUS\n");
    man_text(text_exit);
    printf(".SH EXAMPLES\n");
    man_text(text_examples);
}
