"""What happens to every request around its route, as pure ASGI: layers of microseconds that hide no disconnect."""
