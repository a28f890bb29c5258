/* explorer.c: the page by which a person looks into the emulator, explorer.html, as one answer. It speaks the same
 * protocol as every client, and signs what it asks: there is no other way in for it, so none that others could use. */
#include "explorer.h"

#include <stdio.h>
#include <string.h>

/* The Makefile makes it from explorer.html. Who compiles unit.c in another way has all but the page. */
#ifdef __has_include
#if __has_include("build/explorer.h")
#include "build/explorer.h"
#define EMU_EXPLORER
#endif
#endif
#ifndef EMU_EXPLORER
static const char *const emu_explorer_page[] = { "This emulator was built without its page: \"make\" builds it in.\n" };
#endif

/* What is between <tag> and </tag>, where a browser hashes it. */
static aiocosmos_str emu_inline(const emu_text *page, const char *tag)
{
    aiocosmos_str text = emu_str(page->buffer.data, page->buffer.len), none = { NULL, 0 };
    size_t len = strlen(tag), i, start = 0;
    for (i = 0; i + len + 3 <= text.len; i++) {
        if (text.ptr[i] != '<') continue;
        if (!start && memcmp(text.ptr + i + 1, tag, len) == 0 && text.ptr[i + 1 + len] == '>') start = i + len + 2;
        else if (start && text.ptr[i + 1] == '/' && memcmp(text.ptr + i + 2, tag, len) == 0)
            return emu_str(text.ptr + start, i - start);
    }
    return none;
}

static size_t emu_put_hash(char *to, const emu_text *page, const char *tag)
{
    aiocosmos_str text = emu_inline(page, tag);            /* or nothing, where there is none */
    unsigned char hash[br_sha256_SIZE];
    br_sha256_context context;
    br_sha256_init(&context);
    br_sha256_update(&context, text.ptr, text.len);
    br_sha256_out(&context, hash);
    memcpy(to, "'sha256-", 8);
    return 8 + aioc_text_base64_encode(hash, sizeof hash, to + 8);
}

/* The page runs its own script and no other, talks to this origin alone, and stands in nobody's frame. */
void emu_explorer(emu_exchange *x)
{
    static const char tags[2][8] = { "style", "script" };
    emu_text *page = &x->core->body;
    size_t i, len;
    for (i = 0; i < sizeof emu_explorer_page / sizeof *emu_explorer_page; i++) emu_puts(page, emu_explorer_page[i]);
    if (page->failed) {
        emu_no_memory(x);
        return;
    }
    strcpy(x->extra, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
           "Cross-Origin-Opener-Policy: same-origin\r\nContent-Security-Policy: default-src 'none'; connect-src 'self'; "
           "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    for (i = 0; i < 2; i++) {
        len = strlen(x->extra);
        len += (size_t)snprintf(x->extra + len, 16, "; %s-src ", tags[i]);
        len += emu_put_hash(x->extra + len, page, tags[i]);
        strcpy(x->extra + len, "'");
    }
    x->status = 200;
    x->has_body = x->html = true;
}
