package gateway

import "holdline/config"

// Open is the number of connections that are open and not held.
func (g *Gateway) Open() int { return g.gate.open() }

// Idle is the number of answered polls whose connection is still there.
func (g *Gateway) Idle() int { return g.lot.Idle() }

// AdjustOpen changes the limits of open connections.
func (g *Gateway) AdjustOpen(l config.Limits) { g.gate.adjust(openLimitsOf(l, 0)) }
