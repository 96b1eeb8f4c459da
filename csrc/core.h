/* core.h -- all of the core, for a binding: array.h includes the rest. */
#pragma once

#include "array.h"
