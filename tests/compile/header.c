/* What hosts do with aiocosmos.h; run.sh compiles this as each standard of C and C++. With AIOCOSMOS_IMPLEMENTATION it
 * is the unit that holds the implementation, without it the unit that uses it. */
#ifdef DECLARATIONS_FIRST
#undef AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#define AIOCOSMOS_IMPLEMENTATION
#endif

#include "aiocosmos.h"
#include "aiocosmos.h"

/* As the documentation shows: {} in C++, {0} in C. WITH_ZERO: {0} is C++, too. */
#if defined(__cplusplus) && !defined(WITH_ZERO)
#  define ZEROED {}
#else
#  define ZEROED {0}
#endif

#if !defined(AIOCOSMOS_IMPLEMENTATION) || defined(WITH_MAIN)
int main(void)
{
    aiocosmos_options options = ZEROED;
    aiocosmos_request request = ZEROED;
    aiocosmos_query_request query = ZEROED;
    aiocosmos_read_many_request many = ZEROED;
    aiocosmos_changes_request changes = ZEROED;
    aiocosmos_bulk_request bulk = ZEROED;
    bool zero = !options.headers && !request.kind && !query.sql && !many.items && !changes.from && !bulk.next;
    return aiocosmos_version() == AIOCOSMOS_VERSION && zero ? 0 : 1;
}
#endif
