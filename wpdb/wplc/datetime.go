package wplc

import "time"

// utc reads a datetime of the plugin's tables: the digits of a clock on the
// site's wall, without a zone. What is no date ("0000-00-00 00:00:00"), and what
// JSON could not carry, is the zero time.
func utc(digits string, loc *time.Location) time.Time {
	wall, err := time.ParseInLocation(time.DateTime, digits, time.UTC)
	if err != nil {
		return time.Time{}
	}
	t := wall.Add(-wallOffset(wall, loc))
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// wallOffset is the zone's distance from UTC on a wall clock, decided as PHP
// decides it where the clock was turned (timelib, timelib_get_time_zone_offset_info
// in do_adjust_timezone): a time that the clock jumped over counts on with the
// old offset; of two equal times the one PHP takes depends on the side of
// Greenwich. Go leaves both cases open (time.Date).
func wallOffset(wall time.Time, loc *time.Location) time.Duration {
	_, current := wall.In(loc).Zone()
	at := wall.Add(-time.Duration(current) * time.Second).In(loc)
	_, after := at.Zone()
	if current == after {
		return time.Duration(after) * time.Second
	}
	transition, _ := at.ZoneBounds()
	guess := wall.Add(-time.Duration(after) * time.Second)
	if guess.Before(transition) {
		after = current
	}
	return time.Duration(after) * time.Second
}
