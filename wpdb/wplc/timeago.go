package wplc

import (
	"math"
	"strconv"
)

// timeUnit is one step of wplc_time_ago: seconds, the largest number it is used
// for, and its word for one and for several.
type timeUnit struct {
	seconds, limit int64
	one, many      string
}

// timeUnits are in the order in which the plugin tries them. Its limit of 4.3
// weeks is one of 4, since the number was rounded before. A month has 30.1 days
// there, a year 361.2.
func timeUnits() []timeUnit {
	return []timeUnit{
		{60, 60, "min", "min"},
		{3600, 24, "hr", "hrs"},
		{86400, 7, "day", "days"},
		{604800, 4, "week", "weeks"},
		{2600640, 12, "month", "months"},
		{31207680, math.MaxInt64, "year", "years"},
	}
}

// timeAgo is the plugin's wplc_time_ago (functions.php:490-555) for a distance in
// seconds; next is the distance at which the text will be another one. The words
// are not translated there either.
func timeAgo(seconds int64) (text string, next int64) {
	if seconds <= 60 {
		return "0 min", 61
	}
	for _, u := range timeUnits() {
		// PHP rounds halves away from zero; every unit is an even number.
		n := (seconds + u.seconds/2) / u.seconds
		if n > u.limit {
			continue
		}
		word := u.many
		if n == 1 {
			word = u.one
		}
		return strconv.FormatInt(n, 10) + " " + word, n*u.seconds + u.seconds/2
	}
	return "", math.MaxInt64 // not reached: years have no limit
}
