# aiocosmos. `make help` lists the targets and V=1 shows the commands. CC, CXX, CFLAGS, CXXFLAGS, LDFLAGS, PREFIX and
# DESTDIR mean what they mean everywhere; BEARSSL_PREFIX is where BearSSL's include/ and lib/ are, if not in the system.

B        := build
CFLAGS   ?= -O2 -g
CXXFLAGS ?= -O2 -g
# What `make test` waits for is the compiler, which takes a third of the time so, but for what runs for long; and a
# quarter for the whole library that hardly runs at all. The programs have -O2, and the library that examples share.
unless_asked = $(if $(filter file,$(origin CFLAGS)),$(1),$(CFLAGS))
TEST_CFLAGS ?= $(call unless_asked,-Og -g1)
LONG_CFLAGS ?= $(call unless_asked,-O1 -g1)
WHOLE_CFLAGS ?= $(call unless_asked,-O0 -g1)
PREFIX   ?= /usr/local

BEARSSL_LIBS := -lbearssl
ifdef BEARSSL_PREFIX
BEARSSL_CFLAGS := -isystem $(BEARSSL_PREFIX)/include
BEARSSL_LIBS   := -L$(BEARSSL_PREFIX)/lib -Wl,-rpath,$(BEARSSL_PREFIX)/lib -lbearssl
endif

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wundef
SANITIZE := -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

# What is built follows from the sources that are there, and C++ examples from a C++ compiler.
PROGRAMS := $(B)/aiocosmos $(B)/aiocosmos-emulator
EMULATOR := $(B)/tools/emulator/unit.o
LIBRARY  := $(B)/libaiocosmos-emulator.a
CLI      := $(patsubst %.c,$(B)/%.o,$(filter-out %/main.c,$(wildcard tools/cli/*.c)))
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard examples/*.c))
ifneq ($(shell command -v $(CXX)),)
EXAMPLES += $(patsubst %.cc,$(B)/%,$(wildcard examples/*.cc))
endif

# Examples for the loops of others are built where those are, and where one descriptor speaks for the client.
needs    = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags --libs $(1) 2>/dev/null))
LIBUV   := $(call needs,libuv)
GLIB    := $(call needs,glib-2.0)
EXAMPLES := $(filter-out $(if $(LIBUV),,%/libuv_host) $(if $(GLIB),,%/glib_host),$(EXAMPLES))
ifneq ($(shell uname -s),Linux)
EXAMPLES := $(filter-out %/epoll_host %/libuv_host %/glib_host,$(EXAMPLES))
endif
TESTS    := $(patsubst %.c,$(B)/%,$(wildcard tests/*.c))

# Tests that are built once more, to run on poll as well as on epoll, and tests that have the emulator's core inside.
select    = $(filter $(addprefix $(B)/tests/,$(1)),$(TESTS))
EMBEDDING := $(call select,test_client% test_emulator% test_plan% sim%)
POLLING   := $(addsuffix -poll,$(call select,test_platform% test_pool% test_client%))

# Fuzzers repeat their corpus as tests do; under libFuzzer (make fuzz) they invent more.
FUZZERS   := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ      := -O1 -g1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

# Tests of the layers that read what others wrote, built once more by a clang that is there, and has what it links for
# that: it sees undefined behaviour that gcc does not. Without optimisation it takes a third of the time to compile.
NO_CLANG   = $(shell echo 'int main(void) { return 0; }' | clang -fsanitize=undefined -xc -o /dev/null - 2>&1 || echo 1)
CLANGED   := $(if $(and $(SANITIZING),$(if $(NO_CLANG),,yes)),$(addsuffix -clang,$(call select,test_text test_json \
             test_http test_resolve test_auth test_tls test_protocol test_account test_request test_rows)))
CLANG     := clang -std=gnu99 -O0 -g1 -fsanitize=undefined -fno-sanitize-recover=all

# What tests/compile/run.sh need not compile once more: -O2 by the compiler that it is about.
OPTIMISED := $(and $(filter cc gcc,$(CC)),$(filter file,$(origin CFLAGS)),$(B)/implementation.o)

SCRIPTS   := tests/examples.sh tests/tool.sh tests/tool_reads.sh tests/query_memory.sh tests/packaging.sh \
             tests/compile/run.sh tools/check-layers.sh tools/check-includes.sh

# What `make test` builds, in this order, so that "[12/41] build/tests/test_x" says how far it is.
BUILT := $(EMULATOR) $(PROGRAMS) $(EXAMPLES) $(TESTS) $(FUZZERS) $(POLLING) $(CLANGED) $(B)/bench/query
ifneq ($(filter test,$(MAKECMDGOALS)),)
$(info make test: about 2 minutes to compile everything, 2 to run it; less with make -j$(shell nproc 2>/dev/null) test)
place   = $(firstword $(subst :, ,$(shell printf '%s\n' $(BUILT) | grep -nxF $@)))
how_far = $(patsubst %,[%/$(words $(BUILT))],$(place))
endif

ifndef V
.SILENT:
endif
.DELETE_ON_ERROR:
.PHONY: all demo test sanitize coverage interop explorer sim fuzz fuzzers mutants bench bench-queries bench-emulator bench-tool \
        docs install clean help

all: $(PROGRAMS) $(EXAMPLES) ## the programs and the examples (also plain `make`)

demo: $(B)/aiocosmos-emulator $(B)/examples/telemetry ## the main job, on the emulator or on AIOCOSMOS_CONNECTION_STRING
	BUILD=$(B) tools/demo.sh $(ARGS)

test: $(BUILT) build/certs/done ## every test that needs nothing but this repository
	BUILD=$(B) BEARSSL_CFLAGS='$(BEARSSL_CFLAGS)' BEARSSL_LIBS='$(BEARSSL_LIBS)' \
	    OPTIMISED='$(OPTIMISED)' MAKE_PID=$$PPID \
	    tests/run.sh $(SCRIPTS) $(TESTS) $(FUZZERS) $(POLLING) $(CLANGED)

sanitize: build/bearssl build/certs/done ## the same under AddressSanitizer and UndefinedBehaviorSanitizer
	$(MAKE) --no-print-directory test B=build/sanitize SANITIZING=1 \
	    SCRIPTS="tests/examples.sh tests/tool.sh tests/tool_reads.sh" CFLAGS='$(SANITIZE)' CXXFLAGS='$(SANITIZE)'

# Without optimisation, and with the innermost functions not inlined, so that a line is counted where it stands.
coverage: build/bearssl build/certs/done ## the same, counted: lines and branches of each layer, 95 % of a layer's branches
	command -v python3 >/dev/null || tools/apt-install.sh python3
	find build/coverage -name '*.gcda' -delete 2>/dev/null || true
	TEST_TIMEOUT=$${TEST_TIMEOUT:-1200} $(MAKE) --no-print-directory test B=build/coverage \
	    SCRIPTS="tests/examples.sh tests/tool.sh tests/tool_reads.sh" \
	    CFLAGS='-O0 -g1 --coverage -Dalways_inline=' CXXFLAGS='-O0 --coverage'
	tests/coverage.py build/coverage $(SHOW)

interop: $(PROGRAMS) $(B)/tests/interop/other_server build/certs/done ## the same by others' software
	BUILD=$(B) tests/interop/run.sh

explorer: $(B)/aiocosmos-emulator ## the emulator's page, in a real browser
	BUILD=$(B) tests/explorer/run.sh

sim: $(B)/tests/sim ## a long run of simulations; SEEDS=N: so many, FROM=N: from that one on
	$(B)/tests/sim --from $(or $(FROM),1) --count $(or $(SEEDS),20000)

fuzz: build/bearssl ## inputs nobody thought of, by clang's libFuzzer; SECONDS=N: for each fuzzer; ONLY=NAME: that one
	if command -v clang >/dev/null; then \
	    $(MAKE) --no-print-directory fuzzers B=build/fuzz FUZZING=1 CC=clang CFLAGS='$(FUZZ)' && \
	    BUILD=build/fuzz tests/fuzz/run.sh $(or $(SECONDS),60) '$(ONLY)'; \
	else echo "make fuzz needs clang, for its libFuzzer; make test repeats the corpus without"; fi

fuzzers: $(if $(ONLY),$(B)/tests/fuzz/fuzz_$(ONLY),$(FUZZERS))

mutants: $(EMULATOR) ## breaks the library on purpose: the simulation has to notice each time
	BUILD=$(B) CC='$(CC)' BEARSSL_CFLAGS='$(BEARSSL_CFLAGS)' BEARSSL_LIBS='$(BEARSSL_LIBS)' tests/mutants.sh

bench: $(addprefix $(B)/bench/,run client json server) build/certs/done ## inserts beside wrk's and SDKs'; BENCH_SECONDS=1: short
	command -v wrk >/dev/null || tools/apt-install.sh wrk || echo "going on without wrk"
	command -v stunnel >/dev/null || tools/apt-install.sh stunnel4 || echo "going on without stunnel"
	tools/bench/unit.sh $(CC) -std=gnu99 $(CPPFLAGS) -I. $(BEARSSL_CFLAGS)
	$(B)/bench/run tools/bench/wrk.lua
	tools/bench/sdks.sh $(B)/bench

bench-queries: $(B)/aiocosmos-emulator $(B)/bench/query $(B)/bench/merge ## CPU a merged row; in how much memory; ROWS=N
	$(B)/bench/merge
	EMULATOR_OPTIONS='--partitions 16' BUILD=$(B) tools/with-emulator.sh tools/bench/query.sh $(or $(ROWS),1000000) 100000

bench-emulator: $(addprefix $(B)/,aiocosmos-emulator bench/emulator bench/client bench/server) ## its figures; ROWS=N, ONLY=NAME
	$(B)/bench/emulator $(addprefix $(B)/,aiocosmos-emulator bench/client bench/server) $(or $(ROWS),1000000) \
	    $(or $(BENCH_SECONDS),3) $(ONLY)

bench-tool: $(PROGRAMS) $(B)/bench/tool ## the tool's figures; ROWS=N
	$(B)/bench/tool $(PROGRAMS) $(or $(ROWS),1000000)

docs: ## build/docs.html: every public declaration on one page, with a search field and a cheat sheet to print
	command -v python3 >/dev/null || tools/apt-install.sh python3
	mkdir -p build
	tools/docs.py aiocosmos.h >build/docs.html
	echo "  build/docs.html"

install: $(PROGRAMS) $(LIBRARY) ## headers, programs, the emulator as a library, man pages, in PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib
	install -m 644 aiocosmos.h tools/emulator/aiocosmos_emulator.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(B)/aiocosmos --man >$(DESTDIR)$(PREFIX)/share/man/man1/aiocosmos.1
	install -m 644 tools/packaging/aiocosmos-emulator.1 $(DESTDIR)$(PREFIX)/share/man/man1

clean: ## removes build/
	rm -rf build

help: ## this list
	awk -F ':.* ## ' '/^[a-z-]+:.* ## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

# $(call compile,COMPILER) makes the target of the source and the objects among its prerequisites; flags may follow it.
define compile
echo " $(how_far) $@"
mkdir -p $(@D)
$(1) $(WARNINGS) $(CPPFLAGS) -I. $(BEARSSL_CFLAGS) -MMD -MP -MF $@.d -MT $@ -o $@ $< $(filter-out $<,$(filter %.o %.a,$^))
endef
C    = $(call compile,$(CC) -std=gnu99 $(CFLAGS))
TEST = $(call compile,$(CC) -std=gnu99 $(TEST_CFLAGS))
C++  = $(call compile,$(CXX) -std=gnu++11 $(CXXFLAGS))
LINK = $(LDFLAGS) $(BEARSSL_LIBS)

# One of the examples and the benchmarks compile the implementation as a program does; the others share it: what
# AIOCOSMOS_IMPLEMENTED leaves out of them is linked. That spares the compiler minutes.
SHARING := $(B)/aiocosmos $(B)/bench/query $(filter-out %/hello,$(EXAMPLES))
$(SHARING): $(B)/implementation.o
$(SHARING): private CPPFLAGS += -DAIOCOSMOS_IMPLEMENTED

$(B)/implementation.o: aiocosmos.h | build/bearssl
	$(call compile,$(CC) -std=gnu99 $(CFLAGS) -DAIOCOSMOS_IMPLEMENTATION -x c) -c 2>$@.says || { cat $@.says; exit 1; } >&2
	cat $@.says >&2

$(B)/aiocosmos: tools/cli/main.c $(CLI) | build/bearssl
	$(C) $(LINK)

$(B)/aiocosmos-emulator: tools/emulator/program.c $(EMULATOR) | build/bearssl
	$(C) $(LINK) -lm

$(B)/tools/%.o: tools/%.c | build/bearssl
	$(C) -c

# Tests look into the emulator's core, and the engine in it. What is installed shows its header's functions alone: it is
# the same object without the others' names, where a tool can take them away, and compiled once more where none can.
$(EMULATOR): private CPPFLAGS += -DEMU_PRIVATE=extern

# The emulator has a page inside.
$(EMULATOR) $(B)/tools/emulator/library.o: | build/explorer.h

$(LIBRARY): $(B)/tools/emulator/library.o
	$(AR) rcs $@ $<

OBJCOPY ?= objcopy
CAN_HIDE := $(and $(filter Linux,$(shell uname -s)),$(shell command -v $(OBJCOPY)),$(if $(findstring -flto,$(CFLAGS)),,yes))
ifdef CAN_HIDE
$(B)/tools/emulator/library.o: $(EMULATOR)
	echo " $(how_far) $@"
	$(OBJCOPY) -w --keep-global-symbol='aiocosmos_emulator_*' $< $@
else
$(B)/tools/emulator/library.o: private CPPFLAGS += -Wno-unused-function
$(B)/tools/emulator/library.o: tools/emulator/unit.c | build/bearssl
	$(C) -c
endif

$(B)/examples/%: examples/%.c | build/bearssl
	$(TEST) $(LINK)

$(B)/examples/libuv_host: LINK += $(LIBUV)
$(B)/examples/glib_host: LINK += $(GLIB)
$(B)/examples/one_client_a_thread: LINK += -pthread
$(B)/examples/test_with_emulator: LINK += -lm
$(B)/examples/test_with_emulator: private CPPFLAGS += -Itools/emulator
$(B)/examples/test_with_emulator: $(LIBRARY)

$(B)/examples/%: examples/%.cc | build/bearssl
	$(C++) $(LINK)

$(B)/bench/%: tools/bench/%.c | build/bearssl
	$(C) $(LINK)

$(B)/bench/emulator: $(EMULATOR)
$(B)/bench/emulator: LINK += -lm

$(B)/bench/json: | build/yyjson/flags
$(B)/bench/json: LINK += $(shell cat build/yyjson/flags)

build/yyjson/flags:
	tools/get-yyjson.sh $(@D) '$(CC)'

# What is private to a file is compiled only if something there calls it: a layer's test takes a quarter of the time so.
ALONE = -DBUILD_DIR='"$(B)"' -DAIOCOSMOS_STATIC= $(LINK) -lm -pthread

# Tests of the whole client that look into it no further than client_inside.h share one implementation, or two, too.
# They differ over poll in what they are linked with, except test_client_host, which says what of it is for which.
CLIENTS := $(call select,test_change_feed_processor test_client% test_emulator_inside)
POLLED  := $(filter $(addsuffix -poll,$(CLIENTS)),$(POLLING))
$(CLIENTS): $(B)/tests/%: $(B)/tests/shared/%.o $(B)/tests/shared/client.o
	$(TEST) $(LINK) -lm -pthread

$(filter-out %_host-poll,$(POLLED)): $(B)/tests/%-poll: $(B)/tests/shared/%.o $(B)/tests/shared/client-poll.o
	$(TEST) $(LINK) -lm -pthread

$(filter %_host-poll,$(POLLED)): ALONE = -DBUILD_DIR='"$(B)"' -DAIOCOSMOS_IMPLEMENTED $(LINK) -lm -pthread
$(filter %_host-poll,$(POLLED)): $(B)/tests/shared/client-poll.o

$(B)/tests/shared/test_%.o: tests/test_%.c | build/bearssl
	$(TEST) -DBUILD_DIR='"$(B)"' -DAIOCOSMOS_IMPLEMENTED -c

$(B)/tests/shared/client.o: tests/shared/client.c | build/bearssl
	$(TEST) -c

$(B)/tests/shared/client-poll.o: tests/shared/client.c | build/bearssl
	$(TEST) -DAIOCOSMOS_NO_EPOLL -c

# These call so much that they have the whole library.
$(addprefix $(B)/,examples/hello tests/test_operation tests/test_pages tests/test_tool_input): \
    private TEST_CFLAGS = $(WHOLE_CFLAGS)
$(B)/tests/sim: private TEST_CFLAGS = $(LONG_CFLAGS)

$(B)/tests/%: tests/%.c | build/bearssl
	$(TEST) $(ALONE)

$(B)/tests/%-poll: tests/%.c | build/bearssl
	$(TEST) -DAIOCOSMOS_NO_EPOLL $(ALONE)

$(B)/tests/%-clang: tests/%.c | build/bearssl
	$(call compile,$(CLANG)) $(ALONE)

$(EMBEDDING) $(addsuffix -poll,$(EMBEDDING)): $(EMULATOR)

$(filter %/fuzz_emulator %/fuzz_restore %/fuzz_sql,$(FUZZERS)): $(EMULATOR)
ifdef FUZZING
$(FUZZERS): LINK += -fsanitize=fuzzer
# A whole client compares so much that to record it takes as long as all else, and finds nothing more.
$(B)/tests/fuzz/fuzz_client: private CPPFLAGS += -fno-sanitize-coverage=trace-cmp
else
$(FUZZERS): $(B)/tests/fuzz/replay.o
$(B)/tests/fuzz/fuzz_client: $(B)/tests/shared/client.o
$(B)/tests/fuzz/fuzz_client: ALONE = -DBUILD_DIR='"$(B)"' -DAIOCOSMOS_IMPLEMENTED $(LINK) -lm -pthread
endif

$(B)/tests/fuzz/replay.o: tests/fuzz/replay.c
	$(TEST) -c

build/bearssl:
	mkdir -p $(@D)
	BEARSSL_PREFIX='$(BEARSSL_PREFIX)' tools/get-bearssl.sh '$(CC)' $(CPPFLAGS) $(BEARSSL_CFLAGS) $(LINK)
	touch $@

build/explorer.h: tools/emulator/embed.awk tools/emulator/explorer.html
	mkdir -p $(@D)
	awk -f $^ >$@

build/certs/done: tests/make-certs.sh
	tests/make-certs.sh $(@D)
	touch $@

-include $(wildcard $(B)/*.d $(B)/*/*.d $(B)/*/*/*.d)
