package policy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// takes asks once and compares the wait.
func takes(t *testing.T, l Limiter, key string, perMinute, burst int, want time.Duration) {
	t.Helper()
	if wait, err := l.Take(t.Context(), key, perMinute, burst); wait != want || err != nil {
		t.Errorf("Take(%q, %d, %d) = %s, %v; want %s", key, perMinute, burst, wait, err, want)
	}
}

func TestMemoryLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l MemoryLimiter
		for range 3 {
			takes(t, &l, "a", 3, 3, 0)
		}
		takes(t, &l, "a", 3, 3, 20*time.Second)
		takes(t, &l, "b", 3, 3, 0) // keys do not meet
		time.Sleep(15 * time.Second)
		takes(t, &l, "a", 3, 3, 5*time.Second) // a refusal took nothing
		time.Sleep(5 * time.Second)
		takes(t, &l, "a", 3, 3, 0)
		takes(t, &l, "a", 3, 3, 20*time.Second)
		time.Sleep(time.Hour)
		for range 3 { // nothing is saved up beyond a burst
			takes(t, &l, "a", 3, 3, 0)
		}
		takes(t, &l, "a", 3, 3, 20*time.Second)
	})
}

// Over ten minutes an eager caller gets a burst and then exactly its rate.
func TestMemoryLimiterKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l MemoryLimiter
		got := 0
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(100 * time.Millisecond) {
			if wait, _ := l.Take(t.Context(), "a", 30, 5); wait == 0 {
				got++
			}
		}
		if want := 5 + 10*30 - 1; got != want {
			t.Errorf("30 calls a minute, 5 at once, asked for all the time for 10 minutes: %d calls, want %d", got, want)
		}
	})
}

func TestMemoryLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l MemoryLimiter
		for i := range maxKeys {
			takes(t, &l, fmt.Sprint(i), 60, 1, 0)
		}
		takes(t, &l, "one more", 60, 1, time.Second)
		takes(t, &l, "0", 60, 1, time.Second) // a known key is still counted
		time.Sleep(time.Second)
		takes(t, &l, "one more", 60, 1, 0)
		if n := len(l.arrives); n != 1 {
			t.Errorf("after all others have expired %d keys are kept, want 1", n)
		}
	})
}
