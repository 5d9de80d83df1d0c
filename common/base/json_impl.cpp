// SPDX-License-Identifier: Apache-2.0
// Boost.JSON, compiled once for the whole project.
#include <boost/json/src.hpp>
