// Package httpx holds weir's HTTP helpers outside the gate: query parameters, pages with cursors, problems of RFC
// 9457, and the client with which commands call the API.
package httpx
