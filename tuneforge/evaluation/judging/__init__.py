"""Answers judged by teachers: what is asked, how replies are read, how judges agree."""
