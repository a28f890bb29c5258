/* What hosts do with aiocosmos.h; run.sh compiles this as each standard of C and C++. With AIOCOSMOS_IMPLEMENTATION it
 * is the unit that holds the implementation, without it the unit that uses it. */
#ifdef DECLARATIONS_FIRST
#undef AIOCOSMOS_IMPLEMENTATION
#include "aiocosmos.h"
#define AIOCOSMOS_IMPLEMENTATION
#endif

#include "aiocosmos.h"
#include "aiocosmos.h"

#if !defined(AIOCOSMOS_IMPLEMENTATION) || defined(WITH_MAIN)
int main(void)
{
    return aiocosmos_version() == AIOCOSMOS_VERSION ? 0 : 1;
}
#endif
