/* completion.c: what a shell needs to complete command lines: words of commands, and the options of each. Values and
 * files are left to the shell. */
#include "completion.h"

#include <stdio.h>
#include <string.h>

static size_t word_length(const command *c)
{
    return strcspn(c->name, " ");
}

/* Commands of one group stand together. */
static bool begins_group(const command *commands, unsigned i)
{
    size_t len = word_length(&commands[i]);
    return i == 0 || len != word_length(&commands[i - 1]) || memcmp(commands[i].name, commands[i - 1].name, len) != 0;
}

static void put_options(uint64_t which)
{
    unsigned i;
    for (i = 0; i < OPT_COUNT; i++)
        if (which & BIT(i)) printf(" %s", options[i].name);
}

static void put_first_words(const command *commands, unsigned count)
{
    unsigned i;
    fputs("    words='help", stdout);
    for (i = 0; i < count; i++)
        if (begins_group(commands, i)) printf(" %.*s", (int)word_length(&commands[i]), commands[i].name);
    fputs("'\n", stdout);
}

/* "db) second='list create delete' ;;" */
static void put_second_words(const command *commands, unsigned count)
{
    unsigned i;
    for (i = 0; i < count; i++) {
        size_t len = word_length(&commands[i]);
        if (!commands[i].name[len]) continue;
        if (begins_group(commands, i)) printf("    %.*s) words='", (int)len, commands[i].name);
        else putchar(' ');
        fputs(commands[i].name + len + 1, stdout);
        if (i + 1 == count || begins_group(commands, i + 1)) puts("' ;;");
    }
}

void print_completion(const command *commands, unsigned count)
{
    unsigned i;
    puts("# For bash: source <(aiocosmos --completion). For zsh, before that: autoload -U bashcompinit; bashcompinit.\n"
         "_aiocosmos() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]} second=${COMP_WORDS[2]-} words=");
    fputs("    local all='--help", stdout);
    put_options(OPTIONS_OF_ALL);
    puts("'");
    puts("    case $COMP_CWORD:$cur in");
    puts("    *:-*) case \"$first $second\" in");
    for (i = 0; i < count; i++) {
        if (!commands[i].options) continue;
        printf("        '%s'%s) words='", commands[i].name, strchr(commands[i].name, ' ') ? "" : "' '*");
        put_options(commands[i].options);
        puts("' ;;");
    }
    puts("        esac\n"
         "        words=\"$words $all\" ;;\n"
         "    1:*)");
    put_first_words(commands, count);
    puts("        ;;\n"
         "    2:*) case $first in");
    put_second_words(commands, count);
    puts("        esac ;;\n"
         "    esac\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "}\n"
         "complete -o default -F _aiocosmos aiocosmos");
}
