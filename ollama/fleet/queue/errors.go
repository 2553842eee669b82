package queue

import (
	"fmt"
	"time"
)

// FullError says that no more calls may wait, in all or of one caller.
type FullError struct {
	Caller    string        // who called
	PerCaller bool          // the calls that wait are the caller's own
	Limit     int           // how many may wait
	Wait      time.Duration // until one of them goes; at least a second
}

func (e *FullError) Error() string {
	if e.PerCaller {
		return fmt.Sprintf("%d calls of %s wait already", e.Limit, e.Caller)
	}
	return fmt.Sprintf("%d calls wait already", e.Limit)
}

// TooLateError says that a call's turn would come after its deadline.
type TooLateError struct {
	Position               // where the call would have stood
	Left     time.Duration // until its deadline
}

func (e *TooLateError) Error() string {
	return fmt.Sprintf("the call would wait for %s and has %s", e.Wait.Round(time.Millisecond), e.Left.Round(time.Millisecond))
}
