/* sysfeatures.h -- asks the system's headers for all they have, under -std=c11 too (syscall,
 * RTLD_DEFAULT, robust mutexes).  Must come before any system header; Python.h asks for the same.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
