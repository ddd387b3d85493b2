/* Which engines were compiled in, which of them this processor has, and the one that runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#define HWCAP_DOTPROD (1ul << 20)
#endif

static const unit_t *const units[] = {
#ifdef ADDER_HAVE_AVX512VNNI
    &unit_avx512vnni,
#endif
#ifdef ADDER_HAVE_AVX512
    &unit_avx512,
#endif
#ifdef ADDER_HAVE_AVX2
    &unit_avx2,
#endif
#ifdef ADDER_HAVE_NEON_DOTPROD
    &unit_neon_dotprod,
#endif
#ifdef ADDER_HAVE_NEON
    &unit_neon,
#endif
    &unit_generic,
};

static const char *const known[] = {"generic", "avx2", "avx512", "avx512vnni", "neon", "neon_dotprod"};

int adder_run_abi(void) { return ADDER_RUN_ABI; }

int adder_engine_count(void) { return (int)(sizeof units / sizeof *units); }

const char *adder_engine_name(int number) { return units[number]->name; }

#ifdef ADDER_HAVE_AVX512
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

int adder_engine_supported(int number) {
#ifdef ADDER_HAVE_AVX512VNNI
    if (units[number] == &unit_avx512vnni) return has_avx512() && __builtin_cpu_supports("avx512vnni");
#endif
#ifdef ADDER_HAVE_AVX512
    if (units[number] == &unit_avx512) return has_avx512();
#endif
#ifdef ADDER_HAVE_AVX2
    if (units[number] == &unit_avx2) return __builtin_cpu_supports("avx2");
#endif
#ifdef ADDER_HAVE_NEON_DOTPROD
#ifdef HWCAP_DOTPROD
    if (units[number] == &unit_neon_dotprod) return (getauxval(AT_HWCAP) & HWCAP_DOTPROD) != 0;
#else
    if (units[number] == &unit_neon_dotprod) return 1; /* macOS: every processor with it since the M1 */
#endif
#endif
    (void)number;
    return 1;
}

static void list_supported(char *text, size_t room) {
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < adder_engine_count(); i++)
        if (adder_engine_supported(i) && at < room)
            at += (size_t)snprintf(text + at, room - at, "%s%s", at ? ", " : "", adder_engine_name(i));
}

static int is_known(const char *name) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i], name)) return 1;
    return 0;
}

const unit_t *find_unit(const char *name, char *why, size_t room) {
    const char *from = "the argument engine";
    if (!name || !*name) name = getenv("ADDER_RUNTIME"), from = "ADDER_RUNTIME";
    int any = !name || !*name;
    for (int i = 0; i < adder_engine_count(); i++)
        if (adder_engine_supported(i) && (any || !strcmp(name, adder_engine_name(i)))) return units[i];
    char here[128];
    list_supported(here, sizeof here);
    if (!is_known(name))
        complain(why, room, "%s names the engine '%.32s', which does not exist; here are %s", from, name, here);
    else
        complain(why, room, "%s names the engine '%s', which this processor or this build lacks; here are %s", from,
                 name, here);
    return NULL;
}
