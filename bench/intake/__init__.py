"""How fast signed posts are verified, committed and hinted at, beside a bare Flask route on the same gunicorn.

Start with `section`. `posts` makes what is sent, `loader` sends it with wrk, `bare` is the route to compare with.
"""
