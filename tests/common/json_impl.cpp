// SPDX-License-Identifier: Apache-2.0
// Boost.JSON, compiled once for this folder's tests.
#include <boost/json/src.hpp>
